// The console's page: shows the server's messages, and sends the operator's input and requests.

import { Compare, Grid, fillHelp, make, percent } from "./dialogs.js";
import { Hands, IDLE_MS, MOVES } from "./hands.js";
import { Link } from "./link.js";
import { HAS_STATE, Tree } from "./tree_model.js";
import { SOURCES, TreeView } from "./tree_view.js";

const $ = (id) => document.getElementById(id);
const SHAPES = { PAUSED: "❚❚", POLICY: "▶", HUMAN: "●", HANDBACK: "◐", STOPPED: "■" };
const STRIP = 11; // frames in the filmstrip
const DEMONSTRATION = 3; // Command.SOURCE_DEMONSTRATION
const READ_ONLY = "this is a stored session: it can be viewed, not changed";

const state = {
  id: 0, access: { drive: false, reason: "" }, stored: false, frames: "", description: {},
  world: null, control: null, seats: null, tick: null, health: null, connected: false,
  demonstrations: false, missing: null, chosen: "", following: true, proposals: [], proposal: -1, rolledBackTo: "", digits: "",
};
const tree = new Tree();
const answers = new Map();
let lastAct = 0;

// Page clock, ms: a key press or takeover that waits for its frame, and the latencies so far.
const mark = { pressed: null, took: null, first: 0, latencies: [], takeovers: [] };
const link = new Link({ message, frame, open, lost });
const hands = new Hands(link, {
  taken() { mark.took = performance.now(); showSeat(); showHands(); },
  freed(why) { mark.pressed = mark.took = null; if (why) toast(why, "bad"); showHands(); showSeat(); },
  button(name) { press(byKey.get(buttons[name])); },
  pressed(at) { mark.pressed = mark.pressed ?? at; },
  devices(text) { $("device-text").textContent = text; },
});
const view = new TreeView($("tree-scroll"), $("tree"), $("tree-space"), tree, {
  choose: (node) => choose(node.id),
  go: (node) => { choose(node.id); goThere(); },
  compare: (node) => compareWith(node.id),
});
const compare = new Compare($("compare"), $("compare-body"), tree);
const grid = new Grid($("grid"), $("grid-body"), act);
// For tests and debugging: nothing here can do more than the page itself.
window.hiwm = { state, tree, hands, mark, link, view, grid, act, showTick };

// ---- messages from the server ----

function open() {
  state.connected = true;
  document.body.classList.remove("lost");
  showMode();
}

function lost(why) {
  state.connected = false;
  hands.drop("the connection was lost");
  document.body.classList.add("lost");
  for (const [id, answer] of answers) { answers.delete(id); answer({ ok: false, message: "the connection was lost" }); }
  showMode(why);
}

// One request for a page of the tree at a time; one that is not answered is repeated.
const asked = { since: -1, at: 0 };
function askForTree() {
  const now = performance.now();
  if (asked.since === tree.revision && now - asked.at < 2000) return;
  Object.assign(asked, { since: tree.revision, at: now });
  link.send({ type: "tree", since: tree.revision });
}

const receivers = {
  hello(data) {
    tree.clear(); // the server sends the session's first page next
    asked.since = -1;
    Object.assign(state, { id: data.id, access: data.access, stored: data.stored, description: data.description });
    // A page that reconnects keeps its user's choice.
    if (state.demonstrations !== data.demonstrations) { state.demonstrations = data.demonstrations; demonstrate(data.demonstrations); }
    view.frames = state.frames = data.frames;
    document.body.classList.toggle("stored", data.stored);
    document.body.classList.toggle("viewer", !data.access.drive);
    document.title = `hiwm console – ${data.session}`;
    if (data.stored) showStored(data.session);
    buildControls();
  },
  world(data) { state.world = data; hands.setWorld(data); makeCameras(data.cameras); buildControls(); },
  control(data) {
    state.control = { ...data, at: performance.now() };
    // Once the policy resumes, the scene is no longer the one that a person arranged.
    if (data.mode === "POLICY") $("guide").hidden = true;
    showMode();
  },
  seats(data) { state.seats = data; showSeat(); },
  missing(data) { state.missing = data.actions; showEnabled(); },
  tick(data) { state.tick = data; showTick(); },
  health(data) { state.health = data.nodes; showHealth(); },
  tree(data) {
    const before = tree.revision;
    if (tree.apply(data)) askForTree();
    if (tree.revision === before) return;
    if (state.following || !tree.node(state.chosen)) {
      state.chosen = tree.head;
      const node = tree.node(tree.head);
      if (node && node.branch.row !== followed) { followed = node.branch.row; view.reveal(node); }
    }
    $("tree-text").textContent = `${tree.branches.size} branches, ${tree.count} states`;
    showChosen();
  },
  answer(data) { const answer = answers.get(data.id); answers.delete(data.id); answer?.(data); },
  notice(data) { toast(data.text); },
  refused(data) { toast(data.reason, "bad"); if (hands.engaged && data.reason.includes("controls")) hands.drop(""); },
  // Shown only if this page still assumes that it has control: its own release is no news.
  released(data) { if (hands.engaged) hands.drop(data.reason); },
};

let followed = -1; // row the tree was last scrolled to
function message(data) { receivers[data.type]?.(data); }

function frame(seen, bitmap) {
  const canvas = cameras[seen.camera];
  if (!canvas) return;
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.style.setProperty("--aspect", bitmap.width / bitmap.height);
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  mark.first ||= performance.now();
  canvas.dataset.place = `${seen.epoch}:${seen.step}`;
  canvas.dataset.frames = String(Number(canvas.dataset.frames ?? 0) + 1);
  if (seen.t < 0 || seen.camera !== 0) return;
  const now = performance.now();
  if (mark.took !== null && seen.t >= mark.took) { mark.takeovers.push(now - mark.took); mark.took = null; showNumbers(); }
  if (mark.pressed !== null && seen.t >= mark.pressed) {
    mark.latencies.push(now - mark.pressed);
    if (mark.latencies.length > 200) mark.latencies.shift();
    mark.pressed = null;
    showNumbers();
  }
}

// ---- display ----

const cameras = [];
function makeCameras(list) {
  if (cameras.length === list.length && list.every((camera, n) => cameras[n].dataset.camera === camera.name)) return;
  cameras.splice(0).forEach((canvas) => canvas.remove());
  list.forEach((camera, number) => {
    const canvas = make("canvas", "", { width: camera.width, height: camera.height, role: "img", "aria-label": `camera ${camera.name}`, id: `camera-${number}` });
    canvas.dataset.camera = camera.name;
    canvas.style.setProperty("--aspect", camera.width / camera.height);
    if (number) canvas.className = "further";
    $("cameras").append(canvas);
    cameras.push(canvas);
  });
}

function showMode(why = "") {
  const control = state.control;
  const mode = !state.connected ? "" : state.stored ? "" : control?.mode ?? "";
  for (const name of Object.keys(SHAPES)) document.body.classList.toggle(name, name === mode);
  $("mode-shape").textContent = SHAPES[mode] ?? (state.connected ? "" : "✗");
  $("mode-name").textContent = state.connected ? (state.stored ? "STORED SESSION" : mode || "WAITING") : "NO CONNECTION";
  $("who").textContent = state.connected && control?.device ? `by ${control.device}${control.source === DEMONSTRATION ? ", demonstrating" : ""}` : "";
  $("reason").textContent = state.connected ? (state.stored ? storedText() : control?.reason ?? "no message from the graph yet") : `${why || "connecting"}; trying again`;
  const banner = !state.connected ? "NO CONNECTION" : mode === "PAUSED" || mode === "STOPPED" ? `${SHAPES[mode]} ${mode}` : "";
  $("banner").textContent = banner;
  $("banner").hidden = !banner || state.stored;
  showSince();
  showNumbers();
  showEnabled();
}

function showSince() {
  const control = state.control;
  if (!control || !state.connected || state.stored) { $("since").textContent = ""; return; }
  const seconds = Math.round(control.since_s + (performance.now() - control.at) / 1000);
  $("since").textContent = seconds < 120 ? `for ${seconds} s` : `for ${Math.round(seconds / 60)} min`;
  const left = IDLE_MS - (performance.now() - hands.touched);
  const pad = hands.engaged && !hands.keys.size && left < 3000;
  const lapse = pad ? `, expires in ${Math.max(0, left / 1000).toFixed(0)} s` : "";
  $("hands").textContent = hands.engaged ? `you have control${lapse}; recorded as a ${hands.demonstration ? "demonstration" : "correction"}` : "";
}
setInterval(showSince, 500);

function showHands() { showSince(); showEnabled(); }

function showTick() {
  const tick = state.tick;
  for (const key of ["trust", "progress", "success"]) {
    $(key).value = tick[key] ?? 0;
    $(key).hidden = tick[key] === null;  // an empty bar would read as 0
    $(`${key}-text`).textContent = tick[key] === null ? "?" : tick[key].toFixed(2);
  }
  $("where").textContent = `${tick.branch} step ${tick.step}`;
  $("rate").textContent = `${tick.rate.toFixed(1)} ticks/s`;
  const head = `${tick.branch}:${tick.step}`;
  if (head !== view.head) { view.head = head; view.draw(); }
}

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
}

function showNumbers() {
  const { latencies, takeovers } = mark;
  $("latency").textContent = latencies.length ? `key to frame ${quantile(latencies, 0.5).toFixed(0)} ms, p95 ${quantile(latencies, 0.95).toFixed(0)} ms` : "";
  const parts = [];
  if (takeovers.length) parts.push(`${quantile(takeovers, 0.5).toFixed(0)} ms, p95 ${quantile(takeovers, 0.95).toFixed(0)} ms to the frame`);
  if (state.control?.takeover_ms != null) parts.push(`last at the arbiter ${state.control.takeover_ms.toFixed(1)} ms`);
  $("takeover").textContent = parts.length ? `takeover ${parts.join(", ")}` : "";
  $("network").textContent = link.round === null ? "" : `network ${link.round.toFixed(0)} ms`;
}

function showHealth() {
  const words = ["ok", "warning", "ERROR", "stale"], shapes = ["✓", "▲", "✗", "?"];
  const worst = Math.max(0, ...state.health.map((node) => node.level));
  $("health-text").textContent = `${shapes[worst]} ${words[worst]}, ${state.health.length} nodes`;
  if (!$("health").open && worst === 0) return;
  $("health-list").replaceChildren(...state.health.map((node) => {
    const values = Object.entries(node.values).map(([key, value]) => `${key} ${value}`).join(", ");
    return make("li", `${shapes[node.level] ?? "?"} ${node.name}: ${node.message}${values ? ` (${values})` : ""}`);
  }));
}

function showSeat() {
  const { seats } = state;
  if (!seats || state.stored) return;
  const mine = seats.driver === state.id;
  const name = (id) => (id === state.id ? "you" : seats.people[id] ?? "nobody");
  const viewers = Object.keys(seats.people).length;
  const looking = `${viewers} ${viewers === 1 ? "person" : "people"} connected`;
  $("seat-text").textContent = !state.access.drive ? state.access.reason : seats.driver === null ? `controls are free, ${looking}` : `controls: ${name(seats.driver)}, ${looking}`;
  const list = [];
  const add = (text, key, wish) => {
    const button = make("button", `${text} `, { type: "button" });
    button.append(make("kbd", key));
    button.addEventListener("click", () => link.send({ type: "seat", do: wish }));
    list.push(button);
  };
  if (mine && seats.asking !== null) { add(`Give to ${name(seats.asking)}`, "o", "give"); add("Keep", "e", "keep"); }
  else if (!mine && seats.driver !== null && state.access.drive) add(seats.asking === state.id ? "Asked …" : "Ask for the controls", "o", "ask");
  $("seat-buttons").replaceChildren(...list);
}

function toast(text, kind = "") {
  if (!text) return;
  const last = $("toasts").lastElementChild;
  if (last && last.textContent === text) last.remove();
  const line = make("p", text, { class: kind });
  $("toasts").append(line);
  while ($("toasts").children.length > 4) $("toasts").firstElementChild.remove();
  setTimeout(() => line.remove(), kind === "bad" ? 9000 : 5000);
}

// ---- the chosen state ----

function choose(id, from = "") {
  state.chosen = id;
  state.following = id === tree.head && from !== "queue";
  if (from !== "queue") state.proposal = state.proposals.findIndex((one) => one.node === id);
  showChosen();
  showQueue();
}

let stripTimer = 0;
function showChosen() {
  const node = tree.node(state.chosen);
  view.chosen = state.chosen;
  view.draw();
  showEnabled();
  if (!node) { $("chosen-text").textContent = "no state yet"; return; }
  const source = SOURCES[node.source]?.name ?? "?";
  const label = node.branch.label ? `labelled ${node.branch.label}` : "";
  const more = [`by ${source}`, `trust ${percent(node.trust)}`, `progress ${percent(node.progress)}`, label, node.branch.discarded ? "discarded" : "", node.branch.note].filter(Boolean);
  $("chosen-text").textContent = `${state.following ? "now: " : ""}${node.id} · ${more.join(" · ")}`;
  // While it follows the session, once a second is enough: the live picture shows the rest.
  if (!state.following) { clearTimeout(stripTimer); stripTimer = 0; showStrip(); }
  else if (!stripTimer) stripTimer = setTimeout(() => { stripTimer = 0; showStrip(); }, 1000);
}

function setSource(image, address) { if (image.getAttribute("src") !== address) image.src = address; }

function showStrip() {
  const node = tree.node(state.chosen);
  if (!node) return;
  const end = tree.last(node.branch);
  const line = tree.line(end);
  const place = line.findIndex((at) => at.id === node.id);
  const scrub = $("scrub");
  scrub.max = line.length - 1;
  scrub.value = place;
  scrub.setAttribute("aria-valuetext", node.id);
  setSource($("still"), state.frames + node.id);
  $("still").alt = `frame of ${node.id}`;
  if (state.stored) { setSource($("large-still"), state.frames + node.id); $("large-still").alt = `frame of ${node.id}`; $("large-still").hidden = false; }
  const from = Math.max(0, Math.min(place - (STRIP >> 1), line.length - STRIP));
  const shown = line.slice(from, from + STRIP);
  const strip = $("strip");
  while (strip.children.length > shown.length) strip.lastElementChild.remove();
  while (strip.children.length < shown.length) {
    const button = make("button", "", { type: "button", tabindex: -1 });
    button.append(make("img", "", { alt: "" }));
    button.addEventListener("click", () => choose(button.dataset.node));
    strip.append(button);
  }
  shown.forEach((at, i) => {
    const button = strip.children[i];
    button.dataset.node = at.id;
    button.classList.toggle("chosen", at.id === node.id);
    button.setAttribute("aria-label", `step ${at.step}`);
    setSource(button.firstElementChild, state.frames + at.id);
  });
}

$("scrub").addEventListener("input", () => {
  const node = tree.node(state.chosen);
  const at = node && tree.line(tree.last(node.branch))[Number($("scrub").value)];
  if (at) choose(at.id);
});

function chosenNode() { return state.following ? "" : state.chosen; }

// ---- the queue of failures ----

function showQueue() {
  view.marks = new Map(state.proposals.map((one, i) => [one.node, i + 1]));
  view.draw();
  $("queue-text").textContent = state.proposals.length ? `${state.proposals.length} states, best first` : "press . to find states worth a correction";
  $("queue").replaceChildren(...state.proposals.map((one, i) => {
    const item = make("li");
    const button = make("button", "", { type: "button", class: i === state.proposal ? "chosen" : "" });
    button.append(make("img", "", { class: "thumb", alt: "", src: state.frames + one.node, loading: "lazy" }), make("strong", `${i + 1}. ${one.node}`), make("small", `${one.score.toFixed(2)}: ${one.reason}`));
    button.addEventListener("click", () => pick(i));
    item.append(button);
    return item;
  }));
}

function pick(i) {
  state.proposal = i;
  choose(state.proposals[i].node, "queue");
  const node = tree.node(state.chosen);
  if (node) view.reveal(node);
  $("queue").children[i]?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

async function nextProposal(step) {
  const again = !state.proposals.length || (step > 0 && state.proposal === state.proposals.length - 1);
  if (again) {
    const answer = await act({ action: "propose" });
    if (!answer.ok) return;
    state.proposals = answer.proposals;
    state.proposal = -1;
    showQueue();
    if (!answer.proposals.length) { toast("nothing stands out yet"); return; }
  }
  const count = state.proposals.length;
  pick((state.proposal + step + count) % count);
}

// ---- requests ----

function act(request, quiet = false) {
  const id = ++lastAct;
  const { action, node = "", steps = 0, branch = "", label = "", note = "", count = 0, seed = 0, restore = false } = request;
  return new Promise((resolve) => {
    answers.set(id, (answer) => {
      if (!answer.ok) toast(`${action.replaceAll("_", " ")}: ${answer.message}`, "bad");
      else if (answer.message && !quiet && action !== "propose") toast(answer.message, "good");
      resolve(answer);
    });
    if (!link.send({ type: "act", id, action, node, steps, branch, label, note, count, seed, restore })) {
      answers.get(id)({ ok: false, message: "no connection" });
      answers.delete(id);
    }
    setTimeout(() => { if (answers.delete(id)) resolve({ ok: false, message: "no answer" }); }, 130_000);
  });
}

async function pauseFirst() {
  if (state.control?.mode === "POLICY") await act({ action: "pause", note: "going back" }, true);
}

async function goThere() {
  const node = tree.node(state.chosen);
  if (!node || state.stored) return;
  if (!(node.flags & HAS_STATE)) {
    if (state.world?.can_restore === false) await guideTo(node);
    else toast("no state is saved here: choose one next to it", "bad");
    return;
  }
  await pauseFirst();
  const head = view.present();
  const ahead = head && tree.line(head).some((at) => at.id === node.id);
  // On the line to the current state: a rollback. Elsewhere: a fork.
  went(await act({ action: ahead && state.proposal < 0 ? "rollback" : "fork", node: node.id }));
}

// Only a person can restore a real scene: the requested frame is overlaid on the live camera.
async function guideTo(node) {
  await pauseFirst();
  choose(node.id);
  setSource($("guide"), state.frames + node.id);
  $("guide").alt = `the scene to arrange: step ${node.step}`;
  $("guide").hidden = false;
  placeGuide();
  toast("a real scene cannot be put back by software: arrange it as in the picture over the camera, then press r to start an episode there; v hides the picture");
}

function placeGuide() {
  const canvas = cameras[0];
  if (!canvas || $("guide").hidden) return;
  Object.assign($("guide").style, {
    left: `${canvas.offsetLeft}px`, top: `${canvas.offsetTop}px`,
    width: `${canvas.offsetWidth}px`, height: `${canvas.offsetHeight}px`,
  });
}
addEventListener("resize", placeGuide);

async function nextEpisode() {
  const answer = await act({ action: $("guide").hidden ? "reset" : "reset_by_hand" });
  if (answer.ok) { $("guide").hidden = true; state.proposal = -1; choose(tree.head); }
}

$("guide").addEventListener("error", () => {
  if ($("guide").hidden) return;
  $("guide").hidden = true;
  toast("no picture of that state is stored: choose another", "bad");
});

function went(answer) {
  if (!answer.ok) return;
  state.rolledBackTo = answer.node || state.rolledBackTo;
  state.following = true;
  state.proposal = -1;
  showQueue();
}

async function rollback() {
  const steps = Math.max(1, Number(state.digits || 10));
  if (state.world?.can_restore === false) {
    const line = view.present() ? tree.line(view.present()) : [];
    if (line.length) await guideTo(line[Math.max(0, line.length - 1 - steps)]);
    return;
  }
  went(await act({ action: "rollback", steps }));
}

async function fork() { went(await act({ action: "fork", node: chosenNode() || state.rolledBackTo })); }

function label(value) {
  const node = tree.node(state.chosen);
  act({ action: "label", branch: state.following || !node ? "" : node.branch.id, label: value, note: node?.branch.note ?? "" });
}

function discard() {
  const node = tree.node(state.chosen);
  if (node) act({ action: "discard", branch: node.branch.id, restore: node.branch.discarded });
}

function writeNote() {
  const node = tree.node(state.chosen);
  if (!node || state.stored) return;
  $("note-form").hidden = false;
  $("note-form").dataset.branch = node.branch.id;
  $("note").value = node.branch.note;
  $("note").focus();
}
$("note-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const branch = tree.branches.get($("note-form").dataset.branch);
  act({ action: "label", branch: branch.id, label: branch.label, note: $("note").value });
  $("note-form").hidden = true;
});
$("note-cancel").addEventListener("click", () => { $("note-form").hidden = true; });

function compareWith(id) {
  const one = tree.node(state.chosen);
  let two = tree.node(id);
  if (one && two && one.branch === two.branch && one.branch.from) {
    // The same branch twice: compare with a sister from the same fork, or with its parent branch.
    const sisters = tree.rows.filter((row) => row !== one.branch && row.from === one.branch.from);
    two = tree.last(sisters[0] ?? tree.node(one.branch.from).branch);
  } else if (one && two && one.branch === two.branch) {
    const child = tree.rows.find((row) => row.from && tree.node(row.from)?.branch === one.branch);
    two = child ? tree.last(child) : null;
  }
  if (!one || !two) { toast("there is no second branch to compare with"); return; }
  const problem = compare.open(one, two, state.frames);
  if (problem) toast(problem, "bad");
}

function pauseOrResume() {
  const mode = state.control?.mode;
  if (mode === "PAUSED") act({ action: "start", note: "resumed in the console" }, true);
  else if (mode === "STOPPED") act({ action: "clear_stop", note: "cleared in the console" }, true);
  else if (hands.engaged) hands.letGo("paused in the console", false);
  else act({ action: "pause", note: "paused in the console" }, true);
}

function stop() {
  // The stop first: releasing control before it would hand back to the policy.
  act({ action: "stop", note: "stopped in the console" }, true);
  hands.drop("");
}

function takeOver() {
  if (!state.access.drive) { toast(state.access.reason, "bad"); return; }
  if (state.control?.mode === "STOPPED") { toast("stopped: space clears the stop first", "bad"); return; }
  // A viewer asks for the seat first: a driver without control gives way at once, one in control
  // decides.
  if (state.seats?.driver !== null && state.seats?.driver !== state.id) link.send({ type: "seat", do: "ask" });
  hands.engage();
}

// Whether this page's driving is recorded as a demonstration or as a correction of the policy.
function demonstrate(on = !hands.demonstration) {
  if (hands.engaged) { toast("hand back first: the mode cannot change while you drive", "bad"); return; }
  hands.demonstration = on;
  document.body.classList.toggle("demonstrating", on);
  $("demonstrating").hidden = !on;
  showEnabled();
}

function seatKey() {
  const { seats } = state;
  if (!seats) return;
  link.send({ type: "seat", do: seats.driver === state.id ? "give" : "ask" });
}

let playing = 0;
function play() {
  if (playing) { clearInterval(playing); playing = 0; return; }
  playing = setInterval(() => {
    const node = tree.node(state.chosen);
    const line = node ? tree.line(tree.last(node.branch)) : [];
    const next = line[line.findIndex((at) => at.id === node?.id) + 1];
    if (next) choose(next.id); else play();
  }, 100);
}

// Buttons of a gamepad, as keys.
const buttons = { success: "y", failure: "n", fork: "f", rollback: "b", stop: "x", pause: " " };

// ---- keys: one table for bindings, buttons and help ----

const live = () => !state.stored;
const able = () => live() && state.access.drive && state.connected;
// `action`: the request it sends; if no node serves it, the key is disabled. `stored`: also works in
// a stored session.
const BINDINGS = [
  { group: "Control", key: "t", text: "Take over", run: takeOver, bar: "controls", drives: true, when: () => able() && !hands.engaged },
  { group: "Control", key: "h", text: "Hand back", run: () => hands.handBack(), bar: "controls", drives: true, when: () => hands.engaged },
  { group: "Control", key: "space", text: "Pause or resume", run: () => (state.stored ? play() : pauseOrResume()), bar: "controls", stored: true, action: () => (state.control?.mode === "PAUSED" ? "start" : ""), when: () => able() || state.stored },
  { group: "Control", key: "q", text: "Demonstrate: your driving is recorded as a demonstration, not as a correction", short: "Demonstrate", run: () => demonstrate(), bar: "controls", drives: true, when: () => able() && !hands.engaged },
  { group: "Control", key: "x", text: "Stop", run: stop, bar: "controls", when: able },
  { group: "Control", key: "o", text: "Ask for the controls, or give them", run: seatKey, when: able },
  { group: "Control", key: "e", text: "Keep the controls when asked", run: () => link.send({ type: "seat", do: "keep" }), when: able },
  { group: "Going back", key: "b", action: () => "rollback", text: "Back 10 steps, or as many as a number typed first", short: "Back", run: rollback, bar: "controls", drives: true, when: able },
  { group: "Going back", key: "f", action: () => "fork", text: "Fork from the chosen state, or from the last rollback's state", short: "Fork", run: fork, bar: "chosen-buttons", drives: true, when: able },
  { group: "Going back", key: "Enter", text: "Go to the chosen state (pauses first)", short: "Go here", run: goThere, bar: "chosen-buttons", drives: true, when: able },
  { group: "Going back", key: "r", action: () => "reset", text: "Next episode", run: nextEpisode, bar: "controls", drives: true, when: able },
  { group: "Failures", key: ".", action: () => "propose", text: "Next state worth a correction", run: () => nextProposal(1), bar: "chosen-buttons", short: "Next failure", when: live },
  { group: "Failures", key: ",", action: () => "propose", text: "Previous state worth a correction", run: () => nextProposal(-1), when: live },
  { group: "Failures", key: "g", action: () => "continue", text: "Grid: many continuations from the chosen state", short: "Grid", run: () => grid.open(chosenNode()), bar: "chosen-buttons", when: able },
  { group: "Branches", key: "y", action: () => "label", text: "Label success", short: "✓ Success", run: () => label("success"), bar: "chosen-buttons", drives: true, when: able },
  { group: "Branches", key: "n", action: () => "label", text: "Label failure", short: "✗ Failure", run: () => label("failure"), bar: "chosen-buttons", drives: true, when: able },
  { group: "Branches", key: "u", action: () => "label", text: "Remove the label", run: () => label(""), when: able },
  { group: "Branches", key: "m", action: () => "label", text: "Write a note on the branch", short: "Note", run: writeNote, bar: "chosen-buttons", drives: true, when: able },
  { group: "Branches", key: "z", action: () => "discard", text: "Discard or restore the branch (only a mark, nothing is deleted)", short: "Discard", run: discard, bar: "chosen-buttons", drives: true, when: able },
  { group: "Branches", key: "p", action: () => "save", text: "Pin the current state", run: () => act({ action: "save", note: "pinned in the console" }), when: able },
  { group: "Branches", key: "c", text: "Compare the chosen branch with the current one, side by side from their fork", short: "Compare", run: () => compareWith(view.present()?.id ?? ""), bar: "chosen-buttons", stored: true, when: () => true },
  { group: "Looking", key: "← → ↑ ↓", stored: true, text: "Choose a state (with Shift: 10 steps)" },
  { group: "Looking", key: "v", stored: true, text: "Follow the session again", run: () => { state.proposal = -1; $("guide").hidden = true; choose(tree.head); }, when: () => true },
  { group: "Looking", key: "?", stored: true, text: "This help", run: toggleHelp, when: () => true },
  { group: "Moving, while you have control", key: "w a s d", text: "Left arm" },
  { group: "Moving, while you have control", key: "i j k l", text: "Right arm" },
];

function buildControls() {
  for (const bar of ["controls", "chosen-buttons"]) {
    $(bar).replaceChildren(...BINDINGS.filter((one) => one.bar === bar && (!state.stored || one.stored)).map((one) => {
      const text = state.stored && one.key === "space" ? "Play" : one.short ?? one.text;
      const button = make("button", `${text} `, { type: "button", "data-key": one.key, title: one.text, class: one.drives ? "drives" : "" });
      if (one.key === "t") button.classList.add("strong");
      button.append(make("kbd", one.key));
      button.addEventListener("click", () => press(one));
      return button;
    }));
  }
  showEnabled();
}

// Why a key has no function here, human-readable; empty if it has one, even if not at this time.
function problem(binding) {
  if (state.stored) return binding.stored ? "" : READ_ONLY;
  if (binding.drives && !state.access.drive) return state.access.reason;
  return state.missing?.[binding.action?.() ?? ""] ?? "";
}

function press(binding) {
  const why = problem(binding);
  if (why) toast(why, "bad");
  else if (binding.when()) binding.run();
}

function showEnabled() {
  for (const button of document.querySelectorAll("#controls button, #chosen-buttons button")) {
    const binding = BINDINGS.find((one) => one.key === button.dataset.key);
    const why = problem(binding);
    button.disabled = Boolean(why) || !binding.when();
    button.title = why || binding.text;
    if (binding.key === "q") button.setAttribute("aria-pressed", String(hands.demonstration));
    if (binding.key === "h") button.firstChild.textContent = hands.demonstration ? "End the demonstration " : "Hand back ";
    if (button.dataset.key === "space" && live()) button.firstChild.textContent = { PAUSED: "Resume policy ", STOPPED: "Clear the stop " }[state.control?.mode] ?? "Pause ";
  }
}

const byKey = new Map(BINDINGS.filter((one) => one.run).map((one) => [one.key === "space" ? " " : one.key, one]));
const typing = (target) => target instanceof HTMLElement && (target.closest("input:not([type=range]), textarea, select") || target.isContentEditable);

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || typing(event.target)) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (document.querySelector("dialog[open]") && key !== "?") return;
  if (key in MOVES && live()) {
    event.preventDefault();
    if (!event.repeat) {
      hands.key(key, true);
      if (!hands.engaged) toast("t takes over first");
    } else hands.touch("keys");
    return;
  }
  if (/^[0-9]$/.test(key)) { state.digits = (state.digits + key).slice(-4); return; }
  const binding = byKey.get(key);
  // Enter and space on a focused button belong to that button.
  if (!binding || ((key === "Enter" || key === " ") && event.target instanceof HTMLElement && event.target.closest("button, summary, a"))) return;
  if (event.repeat) { event.preventDefault(); return; }
  event.preventDefault();
  if (hands.engaged) hands.touch("keys");
  press(binding);
  state.digits = "";
});
// A button clicked with the mouse loses the focus: space must pause, not click it again.
addEventListener("click", (event) => {
  if (event.detail > 0 && event.target instanceof HTMLElement) event.target.closest("button, summary")?.blur();
});
addEventListener("keyup", (event) => {
  const key = event.key.toLowerCase();
  if (key in MOVES) hands.key(key, false);
});
// The arrows work from anywhere on the page, not only in the tree.
addEventListener("keydown", (event) => {
  if (!event.key.startsWith("Arrow") || event.defaultPrevented || typing(event.target)) return;
  if (document.querySelector("dialog[open]") || event.target === $("scrub")) return;
  view.key(event);
});

// ---- the rest ----

function storedText() {
  const { task = "", world = "", software_version: version = "" } = state.description;
  return [task && `${task} in ${world}`, "read-only", version && `recorded by ${version}`].filter(Boolean).join(", ");
}

function showStored(name) {
  $("reason").textContent = `${name}: ${storedText()}`;
  $("seat-text").textContent = "view only";
  showMode();
}

function toggleHelp() {
  if ($("help").open) { $("help").close(); return; }
  const groups = new Map();
  for (const one of BINDINGS) {
    if (!state.stored || one.stored) groups.set(one.group, [...(groups.get(one.group) ?? []), [one.key, one.text]]);
  }
  if (!state.stored) {
    groups.set("Gamepad", [["RB", "hold: take over; release: hand back"], ["sticks", "left and right arm"], ["A B", "success, failure"], ["X Y", "fork, back 10 steps"], ["Back Start", "stop, pause"]]);
    groups.set("SpaceMouse", [["cap", "moves an arm"], ["left", "take over, hand back"], ["right", "other arm"]]);
  }
  fillHelp($("help-table"), [...groups]);
  $("help").showModal();
}

$("help-button").addEventListener("click", toggleHelp);
if (!hands.mice.possible) {
  $("hid-button").disabled = true;
  $("hid-button").textContent = "SpaceMouse: no WebHID in this browser";
}
$("hid-button").addEventListener("click", () => hands.mice.choose().then(() => hands.tellDevices(), (error) => toast(error.message, "bad")));
$("health").addEventListener("toggle", () => state.health && showHealth());
const legend = [...SOURCES.map((one) => [one.name, one]), ["▲ takeover", null], ["◆ pinned", null], ["pale: rolled back", null], ["✓ ✗ label", null]];
$("legend").replaceChildren(...legend.map(([text, source]) => {
  const entry = make("span");
  if (source) {
    const canvas = make("canvas", "", { width: 22, height: 12, "aria-hidden": "true" });
    const pen = canvas.getContext("2d");
    pen.fillStyle = source.colour;
    pen.fillRect(0, 6 - source.height / 2, 20, source.height);
    if (source.hatched) { pen.fillStyle = "#fff"; for (let x = 2; x < 20; x += 5) pen.fillRect(x, 0, 2, 12); }
    entry.append(canvas);
  }
  entry.append(text);
  return entry;
}));
buildControls();
showQueue();
