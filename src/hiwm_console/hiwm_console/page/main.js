// The console's page: connects the server's messages to what the page shows and does.

import { $, app, make, mark, state, toast } from "./app.js";
import { buildArms, showArms, showMeasured, showSteering } from "./arms.js";
import { buildControls, pressPad, showEnabled } from "./bindings.js";
import { choose, showChosen, showQueue } from "./chosen.js";
import { Compare, Grid } from "./dialogs.js";
import { Hands } from "./hands.js";
import { Link } from "./link.js";
import { act, answerAll, answered, compareWith, demonstrate, goThere, takeOver } from "./requests.js";
import { Stage } from "./stage.js";
import { showHealth, showLost, showMode, showSeat, showSince, showTask, showTick, showTimes } from "./status.js";
import { Tree } from "./tree_model.js";
import { SOURCES, TreeView } from "./tree_view.js";

const SINCE_MS = 500;
const ARMS_MS = 50;

Object.assign(app, { act, showEnabled, tree: new Tree() });
app.stage = new Stage(showTimes);
app.link = new Link({ message: (data) => receivers[data.type]?.(data), frame: (...shown) => app.stage.frame(...shown), open, lost });
app.hands = new Hands(app.link, {
  taken() { mark.took = performance.now(); showLost(""); showHands(); },
  freed(why) { mark.pressed = mark.took = null; if (why) showLost(why); showHands(); },
  wanted: takeOver,
  button: pressPad,
  pressed(at) { mark.pressed = mark.pressed ?? at; },
  devices(text) { $("device-text").textContent = text; },
});
app.view = new TreeView($("tree-scroll"), $("tree"), $("tree-space"), app.tree, {
  choose: (node) => choose(node.id),
  go: (node) => { choose(node.id); goThere(); },
  compare: (node) => compareWith(node.id),
});
app.compare = new Compare($("compare"), $("compare-body"), app.tree);
app.grid = new Grid($("grid"), $("grid-body"), act);
const { tree, link, hands, view, grid, stage } = app;
// For tests and debugging: nothing here can do more than the page itself.
window.hiwm = { state, tree, hands, mark, link, view, grid, stage, act, showTick };

function showHands() { showMode(); showSeat(); showEnabled(); showArms(); }

function open() {
  state.connected = true;
  document.body.classList.remove("lost");
  tellName();
  showMode();
}

function lost(why) {
  state.connected = false;
  hands.drop("the connection was lost");
  document.body.classList.add("lost");
  answerAll("the connection was lost");
  showMode(why);
  showEnabled();
}

// One request for a page of the tree at a time; one that is not answered is repeated.
const asked = { since: -1, at: 0 };
function askForTree() {
  const now = performance.now();
  if (asked.since === tree.revision && now - asked.at < 2000) return;
  Object.assign(asked, { since: tree.revision, at: now });
  link.send({ type: "tree", since: tree.revision });
}

let followed = -1; // row the tree was last scrolled to
function showTree() {
  if (state.following || !tree.node(state.chosen)) {
    state.chosen = tree.head;
    const node = tree.node(tree.head);
    if (node && node.branch.row !== followed) { followed = node.branch.row; view.reveal(node); }
  }
  $("tree-text").textContent = `${tree.branches.size} ${tree.branches.size === 1 ? "branch" : "branches"}, ${tree.count} ${tree.count === 1 ? "state" : "states"}`;
  showChosen();
}

const receivers = {
  hello(data) {
    tree.clear(); // the server sends the session's first page next
    asked.since = -1;
    Object.assign(state, { id: data.id, access: data.access, stored: data.stored, description: { ...data.description, session: data.session } });
    // A page that reconnects keeps its user's choice.
    if (state.demonstrations !== data.demonstrations) { state.demonstrations = data.demonstrations; demonstrate(data.demonstrations); }
    view.frames = state.frames = data.frames;
    document.body.classList.toggle("stored", data.stored);
    document.body.classList.toggle("viewer", !data.access.drive);
    document.title = `hiwm console – ${data.session}`;
    showMode();
    buildControls();
  },
  world(data) { state.world = data; hands.setWorld(data); stage.setCameras(data.cameras); showTask(); buildArms(); buildControls(); },
  control(data) {
    state.control = { ...data, at: performance.now() };
    // Once the policy resumes, a real scene is no longer the one that a person arranged.
    if (data.mode === "POLICY" && state.world?.can_restore === false) stage.clear();
    showMode();
    showEnabled();
  },
  seats(data) { state.seats = data; showSeat(); showMode(); },
  missing(data) { state.missing = data.actions; showEnabled(); },
  tick(data) { state.tick = data; showTick(); showMeasured(); showSteering(); },
  health(data) { state.health = data.nodes; showHealth(); showSteering(); },
  tree(data) {
    const before = tree.revision;
    if (tree.apply(data)) askForTree();
    if (data.revision > before) showTree();
  },
  present(data) { tree.show(data); showTree(); },
  answer: answered,
  notice({ text }) {
    toast(text === `${state.seats?.people[state.id]} has the controls` ? "you have the controls" : text);
  },
  refused(data) { toast(data.reason, "bad"); if (hands.engaged && data.reason.includes("controls")) hands.drop(""); },
  // Shown only if this page still assumes that it has control: its own release is not news.
  released(data) { if (hands.engaged) hands.drop(data.reason); },
};

// ---- the name of this page's person, shown to others and stored with labels ----

function tellName() { if ($("name").value) link.send({ type: "hello", name: $("name").value }); }
$("name").value = localStorage.getItem("hiwm-name") ?? "";
$("name").addEventListener("change", () => { localStorage.setItem("hiwm-name", $("name").value); tellName(); });

// ---- the rest ----

$("headset-link").href += location.hash; // the token
setInterval(showSince, SINCE_MS);
setInterval(() => stage.showStale(), SINCE_MS);
setInterval(showArms, ARMS_MS);
if (!hands.mice.possible) {
  $("hid-button").disabled = true;
  $("hid-button").textContent = "SpaceMouse: no WebHID in this browser";
}
$("hid-button").addEventListener("click", () => hands.mice.choose().then(() => hands.tellDevices(), (error) => toast(error.message, "bad")));
$("health").addEventListener("toggle", () => state.health && showHealth());
const legend = [...SOURCES.map((one) => [one.name.replace(/ \(.*/, ""), one]), ["▲ takeover", null], ["◆ pinned", null], ["pale: rolled back", null]];
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
