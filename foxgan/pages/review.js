// The board of pictures, the one in full, and what keys and clicks do; `decisions.js` stands before this in the page.
// The board. Pictures get their source when they come near, and lose it again.
const cells = new Map();
const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const image = target.firstElementChild;
    if (isIntersecting && target.item.thumb) image.src = target.item.thumb;
    else image.removeAttribute("src");
  }
}, { root: matchMedia("(max-width: 860px)").matches ? null : board, rootMargin: "900px 0px" });

function element(tag, name, text) {
  const made = document.createElement(tag);
  made.className = name;
  if (text) made.textContent = text;
  return made;
}

function cell(item) {
  const made = element("div", item.pixelated ? "cell pixelated" : "cell");
  made.item = item;
  made.id = `cell-${item.n}`;
  made.title = item.name;
  made.setAttribute("role", "option");
  const image = element("img", "");
  image.alt = item.name;
  image.draggable = false;
  const open = element("button", "open", "⤢");
  open.tabIndex = -1;
  open.title = "Zoom";
  open.setAttribute("aria-label", "Zoom");
  made.append(image, element("span", "mark"), open);
  if (!item.thumb) made.append(element("span", "none", "no picture"));
  if (item.status !== "kept") made.append(element("span", "why", item.reason));
  cells.set(item, made);
  near.observe(made);
  paint(item);
  return made;
}

function paint(item) {
  const made = cells.get(item);
  if (!made) return;
  made.dataset.fate = used(item) ? "in" : "out";
  made.dataset.by = by(item) ?? "";
  made.querySelector(".mark").textContent = { drop: "✕", keep: "✓" }[by(item)] ?? "";
}

// Which are shown, and in which order; what is decided stays where it is until another filter or order is chosen.
let order = [];
let cursor = 0;
let anchor = 0;
let upwards = data.upwards;
const FILTERS = {
  all: ["all", () => true],
  undecided: ["undecided", (item) => !by(item) && item.status === "kept"],
  drop: ["thrown out", (item) => by(item) === "drop"],
  machine: ["dropped by the machine", (item) => item.status !== "kept"],
  keep: ["kept by you", (item) => by(item) === "keep"],
};
for (const status of new Set(items.map((item) => item.status).filter((status) => status !== "kept"))) {
  FILTERS[`status ${status}`] = [`dropped: ${items.find((item) => item.status === status).reason}`, (item) => item.status === status];
}
const CYCLE = ["all", "undecided", "drop", "machine"];
filter.append(...Object.entries(FILTERS).map(([value, [text]]) => new Option(text, value)));
sort.append(new Option("index", "-1"), ...data.scores.map((name, i) => new Option(name, i)));
sort.value = data.sort;

function arrange() {
  const at = order[cursor];
  const column = Number(sort.value);
  const value = (item) => (column < 0 ? item.n : item.scores[column]);
  order = items.filter(FILTERS[filter.value][1]).sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === y) return a.n - b.n;
    if (x === null || y === null) return x === null ? 1 : -1; // what has no score comes last
    return upwards ? x - y : y - x;
  });
  find("turn").textContent = upwards ? "low first" : "high first";
  board.replaceChildren(...order.map((item) => cells.get(item) ?? cell(item)));
  if (!order.length) board.append(element("p", "empty", "None of these. Press f for others."));
  count();
  go(Math.max(0, order.indexOf(at)));
}

const columns = () => getComputedStyle(board).gridTemplateColumns.split(" ").length;
const chosen = () => order.slice(Math.min(anchor, cursor), Math.max(anchor, cursor) + 1);

function go(position, extend = false) {
  for (const made of board.querySelectorAll(".chosen")) {
    made.classList.remove("chosen", "current");
    made.removeAttribute("aria-selected");
  }
  cursor = Math.max(0, Math.min(order.length - 1, position));
  if (!extend) anchor = cursor;
  for (const item of chosen()) {
    cells.get(item).classList.add("chosen");
    cells.get(item).setAttribute("aria-selected", "true");
  }
  const made = order.length && cells.get(order[cursor]);
  if (made) {
    made.classList.add("current");
    made.scrollIntoView({ block: "nearest" });
    board.setAttribute("aria-activedescendant", made.id);
  }
  show();
}

function act(wanted, onwards = true) {
  if (!order.length) return;
  const last = Math.max(anchor, cursor);
  decide(chosen(), wanted);
  if (onwards) go(last + 1);
}

// The picture in full: the file itself where this page can reach it, else what is inside the page.
let shown = null;
function show() {
  const item = order[cursor];
  look.hidden = !item;
  if (!item) return;
  const frame = look.querySelector(".frame");
  const [image, drawing] = [frame.querySelector("img"), frame.querySelector("svg")];
  if (shown !== item) {
    shown = item;
    frame.classList.toggle("pixelated", Boolean(item.pixelated));
    frame.style.setProperty("--aspect", (item.width ?? 1) / (item.height ?? 1));
    drawing.toggleAttribute("hidden", true);
    image.alt = item.name;
    if (item.thumb) image.src = item.thumb;
    else image.removeAttribute("src");
    const file = new Image();
    file.onload = () => {
      if (shown !== item) return;
      image.src = file.src;
      drawing.toggleAttribute("hidden", !item.box);
    };
    if (item.file) file.src = item.file;
    if (item.box) outline(drawing, item);
    facts(item);
  }
  const fate = look.querySelector(".fate");
  fate.dataset.fate = used(item) ? "in" : "out";
  fate.dataset.by = by(item) ?? "";
  fate.textContent = inWords(item);
  find("keep").disabled = !possible(item);
  note.value = decisions.get(item.id)?.note ?? "";
  note.disabled = !by(item);
  note.placeholder = by(item) ? "" : "decide first";
}

function inWords(item) {
  if (by(item) === "drop") return "Thrown out by you";
  if (item.status === "kept") return by(item) ? "Kept by you" : "Kept, undecided";
  if (by(item) === "keep" && possible(item)) return `Brought back by you, although ${item.reason}`;
  return `Dropped by the machine: ${item.reason}`;
}

function outline(drawing, item) {
  drawing.setAttribute("viewBox", `0 0 ${item.width} ${item.height}`);
  const [x0, y0, x1, y1] = item.box;
  const values = { x: x0, y: y0, width: x1 - x0, height: y1 - y0 };
  for (const [name, value] of Object.entries(values)) drawing.firstElementChild.setAttribute(name, value);
}

function facts(item) {
  const list = look.querySelector(".what");
  list.replaceChildren();
  const scores = data.scores.map((name, i) => [name, item.scores[i]]).filter(([, value]) => value !== null);
  for (const [name, value] of [...item.facts, ...scores.map(([name, value]) => [name, `${+value.toPrecision(4)}`])]) {
    list.append(element("dt", "", name), element("dd", "", value));
  }
  if (item.url) {
    const link = element("a", "", "where it comes from");
    Object.assign(link, { href: item.url, rel: "noopener noreferrer", target: "_blank" });
    list.append(element("dt", "", "page"), element("dd", ""));
    list.lastChild.append(link);
  }
}

function count() {
  const tally = { used: 0, drop: 0, rescued: 0, machine: 0, undecided: 0 };
  for (const item of items) {
    if (used(item)) tally.used += 1;
    if (by(item) === "drop") tally.drop += 1;
    if (item.status !== "kept") tally[used(item) ? "rescued" : "machine"] += 1;
    else if (!by(item)) tally.undecided += 1;
  }
  const words = [["good", tally.used, "will be used"], ["bad", tally.drop, "thrown out"], ["good", tally.rescued, "brought back"]];
  words.push(["", tally.machine, "dropped by the machine"], ["", tally.undecided, "undecided"], ["", order.length, `of ${items.length} shown`]);
  find("counts").replaceChildren(...words.filter(([, number], i) => number || i < 2 || i > 3).map(([kind, number, text]) => {
    const made = element("span", kind);
    made.append(element("b", "", number.toLocaleString("en")), ` ${text}`);
    return made;
  }));
  find("undo").disabled = !past.length;
  find("save").classList.toggle("unsaved", unsaved);
}

// Clicks and keys.
function zoom() {
  if (!order.length) return;
  document.body.classList.toggle("zoomed");
  go(cursor);
}

function nextFilter() {
  filter.value = CYCLE[(CYCLE.indexOf(filter.value) + 1) % CYCLE.length];
  arrange();
}

let clicked = 0; // how much could be undone before the last click
board.addEventListener("click", (event) => {
  const made = event.target.closest(".cell");
  if (!made) return;
  const at = order.indexOf(made.item);
  board.focus({ preventScroll: true });
  if (event.target.closest(".open")) { go(at); return zoom(); }
  if (event.detail > 1) return; // the second half of a double click
  clicked = past.length;
  if (event.shiftKey) {
    const wanted = by(order[anchor]);
    go(at, true);
    return wanted && decide(chosen(), wanted);
  }
  go(at);
  const item = made.item;
  const other = used(item) ? "drop" : "keep";
  decide([item], (other === "keep") === (item.status === "kept") && by(item) ? undefined : other);
});
board.addEventListener("dblclick", (event) => {
  if (!event.target.closest(".cell") || event.target.closest(".open")) return;
  if (past.length > clicked) undo(); // what the first click of the two has done
  zoom();
});
const buttons = { undo, save, zoom, ask: () => help.showModal(), load: () => picker.click(), drop: () => act("drop"), keep: () => act("keep") };
buttons.turn = () => { upwards = !upwards; arrange(); };
for (const [id, function_] of Object.entries(buttons)) {
  find(id).addEventListener("click", (event) => {
    function_();
    if (event.detail && !help.open) board.focus({ preventScroll: true }); // by mouse: the next space is for the pictures
  });
}
look.querySelector(".frame").addEventListener("click", zoom);
for (const list of [filter, sort]) list.addEventListener("change", () => { arrange(); board.focus({ preventScroll: true }); });
find("size").addEventListener("input", (event) => board.style.setProperty("--tile", `${event.target.value}px`));
note.addEventListener("change", () => {
  const item = order[cursor];
  const old = decisions.get(item.id);
  if (!old) return;
  const { note: _, ...rest } = old;
  past.push([[item.id, old]]);
  put(item.id, note.value.trim() ? { ...rest, note: note.value.trim() } : rest);
  count();
});
picker.addEventListener("change", async () => {
  for (const file of picker.files) await load(file).catch((error) => tell(`${file.name}: ${error.message}`));
  picker.value = "";
});

const rows = () => Math.max(1, Math.floor(board.clientHeight / (cells.get(order[0])?.offsetHeight || 128)));
const down = () => (document.body.classList.contains("zoomed") ? 1 : columns());
const STEPS = {
  ArrowRight: () => 1, j: () => 1, ArrowLeft: () => -1, k: () => -1, ArrowDown: down, ArrowUp: () => -down(),
  PageDown: () => rows() * columns(), PageUp: () => -rows() * columns(), Home: () => -items.length, End: () => items.length,
};
const ACTS = {
  x: () => act("drop"), Delete: () => act("drop"), Backspace: () => act("drop"), " ": () => act("keep"), Enter: () => act("keep"),
  c: () => act(undefined, false), u: undo, f: nextFilter, z: zoom, s: save, "?": () => help.showModal(), n: () => note.focus(),
  Escape: () => (document.body.classList.contains("zoomed") ? zoom() : go(cursor)),
};

document.addEventListener("keydown", (event) => {
  const target = event.target;
  if (help.open) {
    if (event.key === "?") help.close();
    return;
  }
  if (target.matches("input, select")) {
    if (["Escape", "Enter"].includes(event.key)) board.focus({ preventScroll: true });
    return;
  }
  if (target.matches("button, a") && [" ", "Enter"].includes(event.key)) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (key === "z" || key === "s") event.preventDefault();
    return key === "z" ? undo() : key === "s" ? save() : undefined;
  }
  if (event.altKey || !(key in STEPS || key in ACTS)) return;
  event.preventDefault();
  if (key in STEPS) go(cursor + STEPS[key](), event.shiftKey);
  else ACTS[key]();
});
addEventListener("storage", (event) => {
  if (event.key !== memory) return;
  recall();
  refresh(items.map((item) => [item.id]));
});
addEventListener("pagehide", remember);

recall();
arrange();
board.focus({ preventScroll: true });
