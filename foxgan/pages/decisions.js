// Decisions over pictures, by keys and clicks. They are kept in the browser under the artifact's digest, and saved as a file.
const data = JSON.parse(document.getElementById("data").textContent);
const items = data.items;
const places = new Map(items.map((item, i) => [item.id, i]));
const find = (id) => document.getElementById(id);
const [board, look, filter, sort, note, help, picker] = ["board", "look", "filter", "sort", "note", "help", "file"].map(find);

// What was decided: id -> {decision, time, note}. Also over items of other pages, and of files that were loaded.
const memory = `foxgan-review:${data.digest}`;
const decisions = new Map();
const changed = new Set(); // ids that the browser does not have yet
const past = []; // for undo: lists of [id, what was decided before]
let unsaved = false;

function recall() {
  try {
    for (const [id, value] of Object.entries(JSON.parse(localStorage.getItem(memory) ?? "{}"))) {
      if (!changed.has(id)) decisions.set(id, value);
    }
  } catch (error) {
    tell(`This browser remembers nothing of files (${error.name}): save before you close the page.`);
  }
}

let waiting = 0;
function remember() {
  clearTimeout(waiting);
  waiting = 0;
  if (!changed.size) return;
  try { // another page of the same artifact may have written meanwhile
    const known = new Map(Object.entries(JSON.parse(localStorage.getItem(memory) ?? "{}")));
    for (const id of changed) decisions.has(id) ? known.set(id, decisions.get(id)) : known.delete(id);
    localStorage.setItem(memory, JSON.stringify(Object.fromEntries(known)));
    changed.clear();
  } catch (error) {
    tell(`This browser remembers no more (${error.name}): save before you close the page.`);
  }
}

function put(id, value) {
  if (value) decisions.set(id, value);
  else decisions.delete(id);
  changed.add(id);
  unsaved = true;
  waiting ||= setTimeout(remember, 200);
}

// What becomes of an item.
const by = (item) => decisions.get(item.id)?.decision;
const possible = (item) => item.status === "kept" || item.rescue;
const used = (item) => (by(item) ? by(item) === "keep" && possible(item) : item.status === "kept");

function decide(chosen, wanted) {
  const time = new Date().toISOString();
  const before = [];
  let refused = 0;
  for (const item of chosen) {
    const old = decisions.get(item.id);
    if (wanted === "keep" && !possible(item)) refused += 1;
    else if (old?.decision !== wanted) {
      before.push([item.id, old]);
      put(item.id, wanted && { decision: wanted, ...(old?.note && { note: old.note }), time });
    }
  }
  if (refused) tell(`${refused === 1 ? "This one" : `${refused} of these`} cannot be brought back: the step left no picture of it. Change its params.`);
  if (before.length) past.push(before);
  refresh(before);
}

function undo() {
  const before = past.pop();
  if (!before) return tell("Nothing to undo.");
  for (const [id, old] of before) put(id, old);
  refresh(before);
  const at = order.indexOf(items[places.get(before[0][0])]);
  if (at >= 0) go(at);
}

function refresh(before) {
  for (const [id] of before) if (places.has(id)) paint(items[places.get(id)]);
  count();
  show();
}

// Files of decisions.
function save() {
  remember();
  const ids = [...decisions.keys()].sort();
  const file = {
    foxgan_decisions: data.format,
    artifact: { stage: data.stage, digest: data.digest },
    decisions: Object.fromEntries(ids.map((id) => [id, decisions.get(id)])),
  };
  const link = element("a", "");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1), "\n"], { type: "application/json" }));
  link.download = "decisions.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  unsaved = false;
  count();
  tell(`${ids.length} decisions saved as decisions.json. Name the file in the pipeline: decisions: decisions.json`);
}

async function load(file) {
  const value = JSON.parse(await file.text());
  const given = Object.entries(value?.decisions ?? {});
  if (value?.foxgan_decisions !== data.format) throw new Error("it is not a file of decisions of this foxgan");
  const bad = given.find(([, one]) => !["drop", "keep"].includes(one?.decision));
  if (bad) throw new Error(`its decision over ${bad[0].slice(0, 16)} is neither drop nor keep`);
  const before = [];
  for (const [id, { decision, note, time }] of given) {
    const old = decisions.get(id);
    const one = { decision, ...(typeof note === "string" && { note }), ...(typeof time === "string" && { time }) };
    if (old && (old.time ?? "") > (one.time ?? "")) continue; // the newer of two wins
    if (JSON.stringify(old) === JSON.stringify(one)) continue;
    before.push([id, old]);
    put(id, one);
  }
  if (before.length) past.push(before);
  refresh(before);
  const strange = given.filter(([id]) => !places.has(id)).length;
  tell(`${file.name}: ${given.length} decisions, ${before.length} of them new${strange ? `, ${strange} over items that are not on this page` : ""}.`);
}

let telling = 0;
function tell(text) {
  const told = find("told");
  told.textContent = text;
  told.hidden = false;
  clearTimeout(telling);
  telling = setTimeout(() => { told.hidden = true; }, 7000);
}
