// The photo with its boxes on a canvas, and the list beside it. All positions are pixels of the photo; `view` says where they are seen.
const canvas = find("canvas");
const pen = canvas.getContext("2d");
const view = { scale: 1, x: 0, y: 0, width: 0, height: 0 }; // seen = photo * scale + (x, y), in CSS pixels
let picture = null; // the best version that has arrived
let drawing = null; // box that is being drawn

const seen = (x, y) => [x * view.scale + view.x, y * view.scale + view.y];
const meant = (x, y) => [(x - view.x) / view.scale, (y - view.y) / view.scale];
const fitting = () => Math.min((canvas.clientWidth - 24) / photo.width, (canvas.clientHeight - 24) / photo.height);

function fit() {
  if (!photo?.width) return;
  Object.assign(view, { scale: fitting(), width: canvas.clientWidth, height: canvas.clientHeight });
  view.x = (canvas.clientWidth - photo.width * view.scale) / 2;
  view.y = (canvas.clientHeight - photo.height * view.scale) / 2;
  refresh();
}

function zoom(factor, at = [canvas.clientWidth / 2, canvas.clientHeight / 2]) {
  const [x, y] = meant(...at);
  view.scale = Math.min(Math.max(view.scale * factor, fitting() / 2), Math.max(40, fitting()));
  view.x = at[0] - x * view.scale;
  view.y = at[1] - y * view.scale;
  if (photo.width * view.scale > data.sides[0] * 1.2) load_larger();
  refresh();
}

function zoom_to([x0, y0, x1, y1]) {
  const wanted = Math.min(canvas.clientWidth / (x1 - x0), canvas.clientHeight / (y1 - y0)) / 2;
  zoom(wanted / view.scale);
  view.x = canvas.clientWidth / 2 - ((x0 + x1) / 2) * view.scale;
  view.y = canvas.clientHeight / 2 - ((y0 + y1) / 2) * view.scale;
  refresh();
}

// Pictures: small first, a larger one when somebody looks closer; the next photo's is fetched ahead.
function fetched(number, side, ready) {
  const image = new Image();
  image.onload = () => ready(image);
  image.onerror = () => { if (photo?.number === number) tell("The picture of this photo did not come."); };
  image.src = `picture/${number}/${side}`;
}

function load_picture() {
  picture = null;
  if (photo.unreadable) return;
  const number = photo.number;
  fetched(number, data.sides[0], (image) => {
    if (photo.number !== number) return;
    picture ??= image;
    refresh();
    if (photo.ahead !== null) new Image().src = `picture/${photo.ahead}/${data.sides[0]}`;
  });
  fit();
}

function load_larger() {
  if (!picture || photo.larger || Math.max(photo.width, photo.height) <= data.sides[0]) return;
  photo.larger = true;
  const number = photo.number;
  fetched(number, data.sides[1], (image) => {
    if (photo.number === number) picture = image;
    refresh();
  });
}

// Drawing.
let due = 0;
function refresh() {
  due ||= requestAnimationFrame(() => {
    due = 0;
    paint();
    list();
  });
}

function paint() {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!photo || photo.unreadable) return;
  pen.imageSmoothingEnabled = view.scale < 4;
  if (picture) pen.drawImage(picture, view.x, view.y, photo.width * view.scale, photo.height * view.scale);
  items.forEach((item, i) => { if (i !== chosen) outline(item, false); });
  if (chosen >= 0) outline(items[chosen], true);
  if (drawing) outline({ class: current, box: clipped(drawing), points: [], hint: false }, true);
}

function outline(item, strong) {
  const [x0, y0] = seen(item.box[0], item.box[1]);
  const [x1, y1] = seen(item.box[2], item.box[3]);
  const shade = colour(item.class);
  pen.setLineDash(item.hint ? [7, 5] : []);
  for (const [style, width] of [["rgb(0 0 0 / 55%)", strong ? 5 : 4], [shade, strong ? 3 : 2]]) {
    pen.strokeStyle = style;
    pen.lineWidth = width;
    pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
  pen.setLineDash([]);
  if (strong) {
    pen.fillStyle = `${shade}22`;
    pen.fillRect(x0, y0, x1 - x0, y1 - y0);
    for (const [x, y] of handles(item.box)) knob(...seen(x, y), shade, "square");
  }
  const text = data.classes.length > 1 || item.hint ? `${data.classes[item.class]}${item.hint ? ` ${item.score.toFixed(2)}` : ""}` : "";
  if (text && x1 - x0 > 24) label(text, x0, y0, shade);
  item.points.forEach(([x, y, there], i) => {
    if (!there) return;
    const [px, py] = seen(x, y);
    knob(px, py, there === 1 ? "#9a9a9a" : shade, "round", strong && i === point);
    if (strong && (x1 - x0 > 140 || i === point)) label(data.points[i], px + 8, py + 8, shade);
  });
}

const handles = ([x0, y0, x1, y1]) => [[x0, y0], [(x0 + x1) / 2, y0], [x1, y0], [x1, (y0 + y1) / 2], [x1, y1], [(x0 + x1) / 2, y1], [x0, y1], [x0, (y0 + y1) / 2]];

function knob(x, y, shade, shape, strong = false) {
  pen.beginPath();
  if (shape === "round") pen.arc(x, y, strong ? 7 : 4.5, 0, 7);
  else pen.rect(x - 4, y - 4, 8, 8);
  pen.fillStyle = shape === "round" ? shade : "#fff";
  pen.fill();
  pen.strokeStyle = shape === "round" ? "#fff" : shade;
  pen.lineWidth = 1.5;
  pen.stroke();
}

function label(text, x, y, shade) {
  pen.font = "600 12px ui-sans-serif, system-ui, sans-serif";
  const width = pen.measureText(text).width + 8;
  const top = y > 18 ? y - 18 : y;
  pen.fillStyle = "rgb(20 14 8 / 78%)";
  pen.fillRect(x, top, width, 17);
  pen.fillStyle = shade;
  pen.fillText(text, x + 4, top + 12.5);
}

// The side: what state the photo is in, its classes and boxes.
function list() {
  const state = photo?.unreadable ? "unreadable" : labelled ? "labelled" : "open";
  const marks = items.filter((item) => !item.hint).length;
  const words = { unreadable: "This photo cannot be read", labelled: marks ? `Labelled: ${marks} ${marks === 1 ? "head" : "heads"}` : "Labelled: no heads", open: "Not labelled yet" };
  find("fate").dataset.state = state;
  find("fate").textContent = words[state];
  find("name").textContent = photo ? `${photo.name}${photo.width ? ` · ${photo.width} × ${photo.height}` : ""}${photo.waiting ? " · proposals are coming" : ""}` : "";
  if (photo && document.activeElement !== find("at")) find("at").value = photo.at + 1;
  for (const [i, button] of [...find("classes").children].entries()) button.setAttribute("aria-checked", i === (chosen >= 0 ? items[chosen].class : current));
  const buttons = find("boxes");
  while (buttons.children.length > items.length) buttons.lastChild.remove();
  items.forEach((item, i) => entry(buttons, item, i));
  find("undo").disabled = !past.length;
  find("redo").disabled = !future.length;
  find("remove").disabled = chosen < 0;
  find("copy").disabled = !before.length;
  find("asked").hidden = point < 0;
  if (point >= 0) find("asked").textContent = `click the ${data.points[point].replaceAll("_", " ")}${/left|right/.test(data.points[point]) ? ", as you see it" : ""} · h: not there`;
  const text = chosen < 0 ? "" : `box ${chosen + 1} of ${items.length}: ${describe(items[chosen])}`;
  if (find("said").textContent !== text) find("said").textContent = text;
}

function describe(item) {
  const [x0, y0, x1, y1] = item.box;
  const points = item.points.filter((one) => one[2]).length;
  const size = `${Math.round(x1 - x0)} × ${Math.round(y1 - y0)}`;
  return `${data.classes[item.class]}, ${size}${data.points.length && !item.hint ? `, ${points} of ${data.points.length} points` : ""}${item.hint ? `, proposed ${item.score.toFixed(2)}` : ""}`;
}

function entry(buttons, item, i) {
  let row = buttons.children[i];
  if (!row) {
    row = document.createElement("li");
    row.append(Object.assign(document.createElement("button"), { type: "button" }));
    row.firstChild.addEventListener("click", () => { choose(i); canvas.focus(); });
    buttons.append(row);
  }
  const button = row.firstChild;
  button.className = item.hint ? "hint" : "";
  button.textContent = describe(item);
  button.style.setProperty("--mark", colour(item.class));
  button.setAttribute("aria-pressed", i === chosen);
}

new ResizeObserver(() => {
  if (canvas.clientWidth !== view.width || canvas.clientHeight !== view.height) fit();
}).observe(canvas);
