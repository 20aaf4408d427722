// Keys and mouse.
const REACH = 8; // CSS pixels around an edge, a corner or a point
let held = null; // what the mouse does while a button is down

function choose(i) {
  chosen = items.length ? ((i % items.length) + items.length) % items.length : -1;
  point = -1;
  refresh();
}

const place = (event) => {
  const bounds = canvas.getBoundingClientRect();
  return [event.clientX - bounds.x, event.clientY - bounds.y];
};

function point_at(at) {
  if (chosen < 0) return -1;
  return items[chosen].points.findIndex(([x, y, there]) => there && Math.hypot(seen(x, y)[0] - at[0], seen(x, y)[1] - at[1]) <= REACH);
}

// Which sides of the chosen box are near: [left, top, right, bottom]; null where none is.
function edges_at([x, y]) {
  if (chosen < 0) return null;
  const [x0, y0] = seen(items[chosen].box[0], items[chosen].box[1]);
  const [x1, y1] = seen(items[chosen].box[2], items[chosen].box[3]);
  if (x < x0 - REACH || x > x1 + REACH || y < y0 - REACH || y > y1 + REACH) return null;
  const near = [Math.abs(x - x0), Math.abs(y - y0), Math.abs(x - x1), Math.abs(y - y1)].map((distance) => distance <= REACH);
  if (near[0] && near[2]) near[Math.abs(x - x0) < Math.abs(x - x1) ? 2 : 0] = false;
  if (near[1] && near[3]) near[Math.abs(y - y0) < Math.abs(y - y1) ? 3 : 1] = false;
  return near.some(Boolean) ? near : null;
}

const holds = ([x0, y0, x1, y1], [x, y]) => x >= x0 && x <= x1 && y >= y0 && y <= y1;
const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);

function box_at(at) {
  const where = meant(...at);
  const under = items.map((item, i) => [area(item.box), i]).filter(([, i]) => holds(items[i].box, where));
  return under.length ? under.sort((a, b) => a[0] - b[0])[0][1] : -1;
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.focus();
  if (!photo || photo.unreadable) return;
  canvas.setPointerCapture(event.pointerId);
  const at = place(event);
  const from = meant(...at);
  if (event.button !== 0) held = { kind: "pan", at, x: view.x, y: view.y };
  else if (point >= 0) setPoint(...from);
  else if (point_at(at) >= 0) held = { kind: "point", which: point_at(at), start: snapshot() };
  else if (edges_at(at)) held = { kind: "edges", edges: edges_at(at), box: [...items[chosen].box], from, start: snapshot() };
  else if (chosen >= 0 && holds(items[chosen].box, from)) held = { kind: "box", box: [...items[chosen].box], points: structuredClone(items[chosen].points), at, from, start: snapshot() };
  else held = { kind: "new", at, from };
});

canvas.addEventListener("pointermove", (event) => {
  const at = place(event);
  if (!held) {
    canvas.style.cursor = point >= 0 ? "cell" : point_at(at) >= 0 ? "grab" : edges_at(at) ? "nwse-resize" : chosen >= 0 && holds(items[chosen].box, meant(...at)) ? "move" : "crosshair";
    return;
  }
  const [x, y] = meant(...at);
  const item = items[chosen];
  if (held.kind === "pan") [view.x, view.y] = [held.x + at[0] - held.at[0], held.y + at[1] - held.at[1]];
  else if (held.kind === "new") drawing = Math.hypot(at[0] - held.at[0], at[1] - held.at[1]) > 4 ? [...held.from, x, y] : null;
  else {
    held.moved = true;
    if (held.kind === "point") item.points[held.which] = [inside(x, photo.width), inside(y, photo.height), item.points[held.which][2]];
    else if (held.kind === "edges") moved(item, held.box.map((value, i) => (held.edges[i] ? (i % 2 ? y : x) : value)));
    else shift(item, held, x - held.from[0], y - held.from[1]);
  }
  refresh();
});

canvas.addEventListener("pointerup", (event) => {
  const done = held;
  held = null;
  if (!done || done.kind === "pan") return;
  if (done.kind === "new") {
    const box = drawing;
    drawing = null;
    if (box) return add(box);
    chosen = box_at(place(event));
    return refresh();
  }
  if (!done.moved) { // a click into the chosen box may mean a smaller one within
    chosen = box_at(place(event));
    return refresh();
  }
  past.push(done.start);
  future = [];
  settle();
});

canvas.addEventListener("pointercancel", () => {
  if (held?.start) ({ items, labelled } = held.start);
  held = drawing = null;
  refresh();
});
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (photo?.width) zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), place(event));
}, { passive: false });

// A box goes as a whole, with its points, and stays in the photo.
function shift(item, start, dx, dy) {
  const [x0, y0, x1, y1] = start.box;
  const x = Math.min(Math.max(dx, -x0), photo.width - x1);
  const y = Math.min(Math.max(dy, -y0), photo.height - y1);
  moved(item, [x0 + x, y0 + y, x1 + x, y1 + y]);
  item.points = start.points.map(([px, py, there]) => (there ? [inside(px + x, photo.width), inside(py + y, photo.height), there] : [0, 0, 0]));
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function arrow(event) {
  const step = (event.shiftKey ? 10 : 1) / Math.min(view.scale, 1);
  const [dx, dy] = ARROWS[event.key].map((v) => v * step);
  if (chosen < 0) return dx ? go(photo.at + Math.sign(dx)) : undefined;
  const item = items[chosen];
  change(() => {
    const [x0, y0, x1, y1] = item.box;
    if (point >= 0) {
      const [x, y, there] = item.points[point];
      const [fromX, fromY] = there ? [x, y] : [(x0 + x1) / 2, (y0 + y1) / 2];
      item.points[point] = [inside(fromX + dx, photo.width), inside(fromY + dy, photo.height), there || 2];
    } else if (event.ctrlKey) moved(item, [x0, y0, Math.max(x1 + dx, x0 + LEAST), Math.max(y1 + dy, y0 + LEAST)]);
    else shift(item, { box: item.box, points: item.points }, dx, dy);
  });
}

function new_box() {
  const [x, y] = meant(canvas.clientWidth / 2, canvas.clientHeight / 2);
  const side = Math.min(canvas.clientWidth, canvas.clientHeight) / view.scale / 6;
  add([x - side, y - side, x + side, y + side]);
}

function points() {
  if (!data.points.length) return tell("There are no points to set; start with --points left_eye,right_eye,nose.");
  if (chosen < 0 || items[chosen].hint) return tell("Choose a box first, and accept it.");
  point = Math.max(items[chosen].points.findIndex((one) => !one[2]), 0);
  refresh();
}

function enter() {
  if (point >= 0) { // the point stays where it is
    point = point + 1 < data.points.length ? point + 1 : -1;
    return refresh();
  }
  accept(hints());
  go(photo.at + 1);
}

function hide() {
  if (point < 0 || !items[chosen].points[point][2]) return;
  change(() => { items[chosen].points[point][2] = 3 - items[chosen].points[point][2]; });
}

function escape() {
  if (point >= 0) point = -1;
  else chosen = -1;
  refresh();
}

const KEYS = {
  Enter: enter,
  a: () => accept(chosen >= 0 && items[chosen].hint ? [items[chosen]] : hints()),
  e: none, n: () => go(photo.at + 1), p: () => go(photo.at - 1), u: unlabelled, b: new_box, k: points, c: copy, x: remove, z: undo, y: redo,
  PageDown: () => go(photo.at + 1), PageUp: () => go(photo.at - 1), Delete: remove, Backspace: remove, Escape: escape,
  h: () => { if (point >= 0) setPoint(0, 0, 0); }, v: hide,
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), f: fit,
  g: () => { if (chosen >= 0) zoom_to(items[chosen].box); },
};

// What a key means here; undefined where it means nothing, so that it is the browser's.
function meaning(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.target.matches("button") && ["Enter", " ", "Tab"].includes(key)) return undefined;
  if (event.ctrlKey) {
    if (key === "z") return event.shiftKey ? redo : undo;
    if (key === "y") return redo;
    return ARROWS[key] && chosen >= 0 ? () => arrow(event) : undefined;
  }
  if (key === "z" && event.shiftKey) return redo;
  if (/^[1-9]$/.test(key)) return () => classify(Number(key) - 1);
  if (ARROWS[key]) return () => arrow(event);
  if (key !== "Tab") return KEYS[key];
  const wanted = chosen < 0 && event.shiftKey ? items.length - 1 : chosen + (event.shiftKey ? -1 : 1);
  const within = event.target === canvas && wanted >= 0 && wanted < items.length; // else on to the buttons
  return within ? () => choose(wanted) : undefined;
}

addEventListener("keydown", (event) => {
  if (find("help").open) {
    if (event.key === "?") find("help").close();
    return;
  }
  if (event.key === "?") return find("help").showModal();
  if (!photo || event.altKey || event.metaKey || event.target.matches("input")) return;
  const act = meaning(event);
  if (!act) return;
  event.preventDefault();
  if (coming) later.push(act); // it is meant for the photo that is on its way
  else act();
});

for (const [name, act] of Object.entries({ undo, redo, accept: enter, none, copy, remove, unlabelled, previous: KEYS.p, next: KEYS.n })) {
  find(name).addEventListener("click", () => {
    if (coming) later.push(act);
    else act();
    canvas.focus();
  });
}
find("ask").addEventListener("click", () => find("help").showModal());
find("at").addEventListener("change", () => { go(Number(find("at").value) - 1); canvas.focus(); });
data.classes.forEach((name, i) => {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: i < 9 ? `${i + 1} ${name}` : name });
  button.setAttribute("role", "radio");
  button.style.setProperty("--mark", colour(i));
  button.addEventListener("click", () => { classify(i); canvas.focus(); });
  find("classes").append(button);
});

const wanted = Number(location.hash.slice(1)) - 1;
go(wanted >= 0 && wanted < data.total ? wanted : data.start);
if (data.model) poll();
canvas.focus();
