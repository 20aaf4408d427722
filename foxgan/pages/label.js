// What is on the photo, what was done to it, and how it is saved. `label_canvas.js` draws it, `label_keys.js` hears keys and mouse.
"use strict";
const find = (id) => document.getElementById(id);
const data = JSON.parse(find("data").textContent);
const COLOURS = ["#ff8a1f", "#2f9bff", "#3fc46b", "#e85a9c", "#9a6bff", "#14b8b8", "#d9b411", "#ff5a4d", "#8aa0b8"];
const colour = (number) => COLOURS[number % COLOURS.length];
const LEAST = 2; // pixels of a box's side

let photo = null; // as the server told it
let items = []; // {class, box, points, hint, score}: marks, and proposals that nobody has accepted
let labelled = false;
let chosen = -1;
let point = -1; // which point of the chosen box is being set
let current = 0; // class of boxes to come
let past = [];
let future = [];
let before = []; // marks of the photo that was seen before

// Changes. Each is one step to undo, and is saved at once.
const snapshot = () => ({ items: structuredClone(items), labelled });

function change(act) {
  if (!photo || photo.unreadable) return;
  past.push(snapshot());
  future = [];
  act();
  settle();
}

function settle() {
  chosen = Math.min(chosen, items.length - 1);
  if (chosen < 0 || items[chosen].hint) point = -1;
  save();
  refresh();
}

function undo() {
  if (!past.length) return tell("Nothing to undo on this photo.");
  future.push(snapshot());
  ({ items, labelled } = past.pop());
  point = -1;
  settle();
}

function redo() {
  if (!future.length) return tell("Nothing to do again.");
  past.push(snapshot());
  ({ items, labelled } = future.pop());
  point = -1;
  settle();
}

const inside = (value, most) => Math.min(Math.max(value, 0), most);
const clipped = ([x0, y0, x1, y1]) => [inside(Math.min(x0, x1), photo.width), inside(Math.min(y0, y1), photo.height),
  inside(Math.max(x0, x1), photo.width), inside(Math.max(y0, y1), photo.height)];
const large = ([x0, y0, x1, y1]) => x1 - x0 >= Math.min(LEAST, photo.width) && y1 - y0 >= Math.min(LEAST, photo.height);
const absent = () => data.points.map(() => [0, 0, 0]);
const hints = () => items.filter((item) => item.hint);

function add(box) {
  if (!large(clipped(box))) return;
  change(() => {
    items.push({ class: current, box: clipped(box), points: absent(), hint: false });
    labelled = true;
    chosen = items.length - 1;
    point = data.points.length ? 0 : -1;
  });
}

function accept(which) {
  if (!which.length) return;
  change(() => {
    for (const item of which) item.hint = false;
    labelled = true;
  });
}

function remove() {
  if (chosen < 0) return tell("Choose a box first, with tab or a click.");
  change(() => {
    items.splice(chosen, 1);
    labelled = items.some((item) => !item.hint);
    chosen = -1;
  });
  if (!items.length) tell("No box is left: e says that there are no heads.");
}

function none() {
  change(() => {
    items = [];
    labelled = true;
    chosen = -1;
  });
  go(photo.at + 1);
}

function copy() {
  if (!before.length) return tell("The photo before has no boxes.");
  const new_ones = structuredClone(before).map((item) => ({ ...item, box: clipped(item.box), hint: false })).filter((item) => large(item.box));
  change(() => {
    items.push(...new_ones);
    labelled = labelled || new_ones.length > 0;
    chosen = items.length - 1;
  });
}

function classify(number) {
  if (number >= data.classes.length) return tell(`There are ${data.classes.length} classes.`);
  current = number;
  if (chosen >= 0 && items[chosen].class !== number) change(() => { items[chosen].class = number; });
  else refresh();
}

// A box or a point moves while the mouse is down, or by keys; the whole way is one step to undo.
function moved(item, box) {
  if (!large(clipped(box))) return;
  item.box = clipped(box);
  item.hint = false;
  labelled = true;
}

function setPoint(x, y, seen = 2) {
  const item = items[chosen];
  change(() => {
    item.points[point] = seen ? [inside(x, photo.width), inside(y, photo.height), seen] : [0, 0, 0];
    point = point + 1 < data.points.length ? point + 1 : -1;
  });
}

// Saving: the newest state of each photo, one request after the other, again and again until the server has it.
const unsaved = new Map();
let sending = false;

function save() {
  const marks = labelled ? items.filter((item) => !item.hint) : [];
  unsaved.set(photo.number, { photo: photo.number, labelled, marks: marks.map(({ class: number, box, points }) => ({ class: number, box, points })) });
  send();
}

async function send() {
  if (sending) return;
  sending = true;
  while (unsaved.size) {
    const [number, state] = unsaved.entries().next().value;
    show_saved("saving …");
    try {
      const answer = await ask("labels", state);
      if (unsaved.get(number) === state) unsaved.delete(number);
      count(answer);
    } catch (error) {
      show_saved(`not saved: ${error.message}`, true);
      await new Promise((done) => setTimeout(done, 1500));
      if (error.refused && unsaved.get(number) === state) unsaved.delete(number); // asking again would not help
    }
  }
  sending = false;
  if (!find("saved").classList.contains("bad")) show_saved("saved");
}

function show_saved(text, bad = false) {
  find("saved").textContent = text;
  find("saved").classList.toggle("bad", bad);
}

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, { ...options, cache: "no-store" });
  } catch {
    throw new Error("foxgan label does not answer; is it still running?");
  }
  const value = await answer.json().catch(() => ({ error: `answer ${answer.status}` }));
  if (!answer.ok) throw Object.assign(new Error(value.error), { refused: answer.status === 400 });
  return value;
}

addEventListener("beforeunload", (event) => { if (unsaved.size) event.preventDefault(); });

// From photo to photo.
let coming = 0; // photos on their way
const later = []; // what was asked for meanwhile
async function go(at) {
  if (!(at >= 0 && at < data.total)) return tell(at < 0 ? "This is the first photo." : "This is the last photo.");
  await bring(() => ask(`photo/${at}`));
}

async function bring(answers) {
  coming += 1;
  try {
    const answer = await answers();
    if (answer) arrive(answer);
  } catch (error) {
    later.length = 0;
    tell(error.message);
  }
  coming -= 1;
  while (later.length && !coming) later.shift()();
}

function arrive(answer) {
  if (photo && photo.number !== answer.number) before = structuredClone(items.filter((item) => !item.hint));
  photo = answer;
  past = [];
  future = [];
  chosen = point = -1;
  labelled = Boolean(answer.labelled);
  items = (answer.marks ?? []).map((mark) => ({ ...mark, points: mark.points.length ? mark.points : absent(), hint: false }));
  if (!labelled) propose(answer);
  if (answer.malformed) tell(`${answer.malformed} lines of its label file are no boxes; they go when you change something.`);
  history.replaceState(null, "", `#${answer.at + 1}`); // a reload comes back here
  count(answer);
  load_picture();
  refresh();
}

function propose(answer) {
  photo.waiting = answer.waiting;
  items.push(...(answer.hints ?? []).map((hint) => ({ ...hint, hint: true })));
}

function unlabelled() {
  return bring(async () => {
    for (let at = photo.at + 1; at < data.total; at += 1) {
      const answer = await ask(`photo/${at}`);
      if (!answer.labelled && !answer.unreadable) return answer;
    }
    tell("No photo behind this one is without labels.");
    return null;
  });
}

// The detector works in the background: its proposals for this photo may come while one looks at it.
async function poll() {
  try {
    const answer = await ask("progress");
    count(answer);
    if (photo?.waiting) {
      const again = await ask(`photo/${photo.at}`);
      if (again.number === photo.number && !again.waiting) {
        photo.waiting = false;
        if (!labelled && !past.length) propose(again);
        refresh();
      }
    }
    if (!answer.busy) return;
  } catch (error) {
    show_saved(error.message, true);
  }
  setTimeout(poll, 1000);
}

let told_of = 0;
function count(answer) {
  find("bar").value = answer.done;
  const looked = answer.busy ? `, ${answer.looked_at} looked at` : "";
  find("counts").textContent = `${answer.done} of ${data.total} labelled${looked}`;
  for (; told_of < answer.messages.length; told_of += 1) tell(answer.messages[told_of]);
}

let telling = 0;
function tell(text) {
  const told = find("told");
  told.textContent = text;
  told.hidden = false;
  clearTimeout(telling);
  telling = setTimeout(() => { told.hidden = true; }, 6000);
}
