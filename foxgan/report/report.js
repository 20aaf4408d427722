// What a page without scripts shows as well, only nicer: a slider through time, and pictures that open.
for (const strip of document.querySelectorAll(".strip")) {
  const figures = [...strip.children];
  if (figures.length < 2) continue;
  strip.classList.add("stacked");
  const bar = document.createElement("div");
  bar.className = "player";
  const play = document.createElement("button");
  const slider = document.createElement("input");
  slider.type = "range";
  slider.max = figures.length - 1;
  slider.setAttribute("aria-label", "Time");
  bar.append(play, slider);
  strip.after(bar);
  let timer = 0;
  const show = (index) => {
    slider.value = index;
    figures.forEach((figure, i) => figure.classList.toggle("current", i === index));
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play");
  };
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
    timer = setInterval(() => show((Number(slider.value) + 1) % figures.length), 600);
  });
  stop();
  show(figures.length - 1);
}

const viewer = document.getElementById("viewer");
document.addEventListener("click", (event) => {
  const frame = event.target.closest("main .frame, .mosaic .frame");
  if (!frame || !frame.querySelector("img")) return;
  const copy = frame.cloneNode(true);
  const image = copy.querySelector("img");
  const scale = Math.min((innerWidth * 0.92) / image.width, (innerHeight * 0.9) / image.height, Math.max(1, 640 / image.width));
  copy.style.width = `${image.width * scale}px`;
  const caption = document.createElement("p");
  caption.textContent = frame.title;
  viewer.replaceChildren(copy, caption);
  viewer.showModal();
});
viewer.addEventListener("click", () => viewer.close());

if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
  for (const film of document.querySelectorAll("video")) { film.autoplay = false; film.pause(); }
}
