// What a person asks of the session: going back and forth, labels, pausing, taking over.

import { $, app, state, toast } from "./app.js";
import { choose, chosenNode, showQueue } from "./chosen.js";
import { reference } from "./stage.js";
import { HAS_STATE } from "./tree_model.js";

const PATIENCE_MS = 130_000;
const answers = new Map();
let lastAct = 0;

export function act(request, quiet = false) {
  const id = ++lastAct;
  const { action, node = "", steps = 0, branch = "", label = "", note = "", count = 0, seed = 0, start = "", restore = false } = request;
  return new Promise((resolve) => {
    answers.set(id, (answer) => {
      if (!answer.ok) toast(`${action.replaceAll("_", " ")}: ${answer.message}`, "bad");
      else if (answer.message && !quiet && action !== "propose") toast(answer.message, "good");
      resolve(answer);
    });
    if (!app.link.send({ type: "act", id, action, node, steps, branch, label, note, count, seed, start, restore })) {
      answers.get(id)({ ok: false, message: "no connection" });
      answers.delete(id);
    }
    setTimeout(() => { if (answers.delete(id)) resolve({ ok: false, message: "no answer" }); }, PATIENCE_MS);
  });
}

export function answered(data) {
  const answer = answers.get(data.id);
  answers.delete(data.id);
  answer?.(data);
}

export function answerAll(message) {
  for (const id of [...answers.keys()]) answered({ id, ok: false, message });
}

// ---- control ----

export function pauseOrResume() {
  const mode = state.control?.mode;
  if (mode === "PAUSED") act({ action: "start", note: "resumed in the console" }, true);
  else if (mode === "STOPPED") act({ action: "clear_stop", note: "cleared in the console" }, true);
  else if (app.hands.engaged) app.hands.letGo("paused in the console", false);
  else act({ action: "pause", note: "paused in the console" }, true);
}

export function stop() {
  // The stop first: releasing control before it would hand back to the policy.
  act({ action: "stop", note: "stopped in the console" }, true);
  app.hands.drop("");
}

export function takeOver() {
  if (!state.access.drive) { toast(state.access.reason, "bad"); return; }
  if (state.control?.mode === "STOPPED") { toast("stopped: space clears the stop first", "bad"); return; }
  // A viewer asks for the seat first: a driver without control gives way at once, one in control
  // decides.
  if (state.seats?.driver !== null && state.seats?.driver !== state.id) app.link.send({ type: "seat", do: "ask" });
  app.hands.engage();
}

// Whether this page's driving is recorded as a demonstration or as a correction of the policy.
export function demonstrate(on = !app.hands.demonstration) {
  if (app.hands.engaged) { toast("hand back first: the mode cannot change while you drive", "bad"); return; }
  app.hands.demonstration = on;
  document.body.classList.toggle("demonstrating", on);
  $("demonstrating").hidden = !on;
  app.showEnabled();
}

export function seatKey() {
  const { seats } = state;
  if (seats) app.link.send({ type: "seat", do: seats.driver === state.id ? "give" : "ask" });
}

// ---- going back ----

async function pauseFirst() {
  if (state.control?.mode === "POLICY") await act({ action: "pause", note: "going back" }, true);
}

// `left`: where the world was before a rollback, for an undo of it.
function went(answer, left = "") {
  if (!answer.ok) return;
  state.rolledBackTo = answer.node || state.rolledBackTo;
  state.undo = left;
  state.following = true;
  state.proposal = -1;
  showQueue();
  app.showEnabled();
}

export async function goThere() {
  const { tree } = app;
  const node = tree.node(state.chosen);
  if (!node || state.stored) return;
  if (!(node.flags & HAS_STATE)) {
    if (state.world?.can_restore === false) await guideTo(node);
    else toast("no state is saved here: choose one next to it", "bad");
    return;
  }
  await pauseFirst();
  const head = app.view.present();
  // On the line to the current state: a rollback. Elsewhere: a fork.
  const back = head && state.proposal < 0 && tree.line(head).some((at) => at.id === node.id);
  went(await act({ action: back ? "rollback" : "fork", node: node.id }), back ? head.id : "");
}

export async function rollback() {
  const steps = Math.max(1, Number(state.digits || 10));
  const head = app.view.present();
  if (state.world?.can_restore === false) {
    const line = head ? app.tree.line(head) : [];
    if (line.length) await guideTo(line[Math.max(0, line.length - 1 - steps)]);
    return;
  }
  went(await act({ action: "rollback", steps }), head?.id ?? "");
}

// Back to the last state before the rollback. It continues on a branch of its own, and the states
// between are no longer marked rolled-back.
export async function undoRollback() {
  const before = app.tree.node(state.undo);
  if (!before) { toast("there is no rollback to undo"); return; }
  await pauseFirst();
  went(await act({ action: "fork", node: app.tree.last(before.branch).id }));
}

export async function fork() { went(await act({ action: "fork", node: chosenNode() || state.rolledBackTo })); }

// Only a person can restore a real scene: the requested frame is overlaid on the live camera.
async function guideTo(node) {
  await pauseFirst();
  choose(node.id);
  app.stage.overlay(node, `the scene to arrange: step ${node.step}`);
  toast("a real scene cannot be put back by software: arrange it as in the picture over the camera, then press r to start an episode there; v hides the picture");
}

// The picture to compare the scene with, over the live one.
export function overlay() {
  if (app.stage.overlaid) { app.stage.clear(); return; }
  const found = reference();
  if (found) app.stage.overlay(...found);
}

export async function nextEpisode() {
  // A person arranges a real scene: as in the picture over it, or wherever no robot places it.
  const arranged = state.world?.auto_reset === false || (app.stage.overlaid && state.world?.can_restore === false);
  const answer = await act({ action: arranged ? "reset_by_hand" : "reset" });
  if (answer.ok) { app.stage.clear(); state.proposal = -1; state.undo = ""; choose(app.tree.head); }
}

// Where an imagined episode begins, other than at the world model's own start frames.
export function chooseStart() {
  $("start-form").hidden = false;
  $("start-place").focus();
}

async function startFrom(start) {
  await pauseFirst();
  const answer = await act({ action: "reset", start });
  if (!answer.ok) return;
  $("start-form").hidden = true;
  $("start-place").blur();
  app.stage.clear(); state.proposal = -1; state.undo = "";
  choose(app.tree.head);
}

$("start-form").addEventListener("submit", (event) => {
  event.preventDefault();
  startFrom($("start-place").value.trim());
});
$("start-live").addEventListener("click", () => startFrom("live"));
$("start-cancel").addEventListener("click", () => { $("start-form").hidden = true; });

$("guide").addEventListener("error", () => {
  if (!app.stage.overlaid) return;
  app.stage.clear();
  toast("no picture of that state is stored: choose another", "bad");
});

// ---- labels and notes ----

export function label(value) {
  const node = app.tree.node(state.chosen);
  act({ action: "label", branch: state.following || !node ? "" : node.branch.id, label: value, note: node?.branch.note ?? "" });
}

export function discard() {
  const node = app.tree.node(state.chosen);
  if (node) act({ action: "discard", branch: node.branch.id, restore: node.branch.discarded });
}

export function writeNote() {
  const node = app.tree.node(state.chosen);
  if (!node || state.stored) return;
  $("note-form").hidden = false;
  $("note-form").dataset.branch = node.branch.id;
  $("note").value = node.branch.note;
  $("note").focus();
}

$("note-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const branch = app.tree.branches.get($("note-form").dataset.branch);
  act({ action: "label", branch: branch.id, label: branch.label, note: $("note").value });
  $("note-form").hidden = true;
});
$("note-cancel").addEventListener("click", () => { $("note-form").hidden = true; });

export function compareWith(id) {
  const { tree } = app;
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
  const problem = app.compare.open(one, two, state.frames);
  if (problem) toast(problem, "bad");
}
