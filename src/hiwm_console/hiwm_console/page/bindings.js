// Keys, buttons and help: one table for all three. Keys that move the arms are in key_map.js.

import { $, app, closeDialogs, make, openDialog, state, toast } from "./app.js";
import { buildArms } from "./arms.js";
import { chosenNode, nextProposal, play, choose } from "./chosen.js";
import { fillHelp } from "./dialogs.js";
import { IDLE_MS } from "./hands.js";
import { armTitle, keyText } from "./key_map.js";
import * as requests from "./requests.js";

const READ_ONLY = "this is a stored session: it can be viewed, not changed";

// Buttons of a gamepad, as keys.
const PAD_BUTTONS = { success: "y", failure: "n", fork: "f", rollback: "b", stop: "x", pause: " " };

const live = () => !state.stored;
const able = () => live() && state.access.drive && state.connected;
const engaged = () => app.hands.engaged;

// `action`: the request it sends; if no node serves it, the key is disabled. `stored`: also works in
// a stored session. `shown`: whether its button is there now.
const BINDINGS = [
  { group: "Control", key: "t", text: `Take over. Control ends ${IDLE_MS / 1000} s after the last key`, short: "Take over", run: requests.takeOver, bar: "controls", drives: true, shown: () => !engaged() && state.control?.mode !== "STOPPED", when: () => able() && !engaged() },
  { group: "Control", key: "h", text: "Hand back, or finish the demonstration", short: "Hand back", run: () => app.hands.handBack(), bar: "controls", drives: true, shown: engaged, when: engaged },
  { group: "Control", key: "space", text: "Pause or resume", run: () => (state.stored ? play() : requests.pauseOrResume()), bar: "controls", stored: true, action: () => (state.control?.mode === "PAUSED" ? "start" : ""), when: () => able() || state.stored },
  { group: "Control", key: "x", text: "STOP by software. It is not the robot's emergency stop: keep that within reach", run: requests.stop, when: able },
  { group: "Control", key: "q", text: "Demonstrate: your driving is recorded as a demonstration, not as a correction", short: "Demonstrate", run: () => requests.demonstrate(), bar: "drive-buttons", drives: true, when: () => able() && !engaged() },
  { group: "Control", key: "o", text: "Ask for the controls, or give them", run: requests.seatKey, when: able },
  { group: "Control", key: "e", text: "Keep the controls when asked", run: () => app.link.send({ type: "seat", do: "keep" }), when: able },
  { group: "Going back", key: "b", action: () => "rollback", text: "Back 10 steps, or as many as a number typed first", short: "Back 10", run: requests.rollback, bar: "controls", drives: true, when: able },
  { group: "Going back", key: "Backspace", action: () => "fork", text: "Undo the last rollback: return to where it started", short: "Undo", run: requests.undoRollback, bar: "controls", drives: true, shown: () => Boolean(state.undo), when: () => able() && Boolean(state.undo) },
  { group: "Going back", key: "f", action: () => "fork", text: "Fork from the chosen state, or from the last rollback's state", short: "Fork", run: requests.fork, bar: "chosen-buttons", drives: true, when: able },
  { group: "Going back", key: "Enter", text: "Go to the chosen state (pauses first)", short: "Go here", run: requests.goThere, bar: "chosen-buttons", drives: true, when: able },
  { group: "Going back", key: "r", action: () => "reset", text: "Next episode", run: requests.nextEpisode, bar: "controls", drives: true, when: able },
  { group: "Going back", key: "=", action: () => "reset", text: "Start from a step of a bag, a state of a stored session, or what the robot shows now", short: "Start from", run: requests.chooseStart, bar: "controls", drives: true, shown: () => state.world?.kind === "imagination", when: () => able() && state.world?.kind === "imagination" },
  { group: "Failures", key: ".", action: () => "propose", text: "Next state worth a correction", run: () => nextProposal(1), bar: "queue-buttons", short: "Next", when: live },
  { group: "Failures", key: ",", action: () => "propose", text: "Previous state worth a correction", run: () => nextProposal(-1), when: live },
  { group: "Failures", key: "g", action: () => "continue", text: "Grid: many continuations from the chosen state", short: "Grid", run: () => app.grid.open(chosenNode()), bar: "chosen-buttons", when: able },
  { group: "Branches", key: "y", action: () => "label", text: "Label success", short: "✓ Success", run: () => requests.label("success"), bar: "chosen-buttons", drives: true, when: able },
  { group: "Branches", key: "n", action: () => "label", text: "Label failure", short: "✗ Failure", run: () => requests.label("failure"), bar: "chosen-buttons", drives: true, when: able },
  { group: "Branches", key: "u", action: () => "label", text: "Remove the label", run: () => requests.label(""), when: able },
  { group: "Branches", key: "m", action: () => "label", text: "Write a note on the branch", short: "Note", run: requests.writeNote, bar: "chosen-buttons", drives: true, when: able },
  { group: "Branches", key: "z", action: () => "discard", text: "Discard or restore the branch (only a mark, nothing is deleted)", short: "Discard", run: requests.discard, bar: "chosen-buttons", drives: true, when: able },
  { group: "Branches", key: "p", action: () => "save", text: "Pin the current state", run: () => app.act({ action: "save", note: "pinned in the console" }), when: able },
  { group: "Branches", key: "c", text: "Compare the chosen branch with the current one, side by side from their fork", short: "Compare", run: () => requests.compareWith(app.view.present()?.id ?? ""), bar: "chosen-buttons", stored: true, when: () => true },
  { group: "Driving", key: ";", text: "Next frame: along whose axes the arms move", short: "Frame", run: () => steer("nextFrame"), bar: "steer-buttons", drives: true, shown: () => app.hands.frames.length > 1, when: () => able() && app.hands.frames.length > 1 },
  { group: "Driving", key: "-", text: "Next speed: 100, 50, 25 % of full speed", short: "Speed", run: () => steer("nextSpeed"), bar: "steer-buttons", drives: true, shown: () => app.hands.size > 0, when: able },
  { group: "Looking", key: "/", text: "Overlay: the chosen state, the end of a success or the episode's start, over the live picture", short: "Overlay", run: requests.overlay, bar: "view-buttons", when: live },
  { group: "Looking", key: "← → ↑ ↓", stored: true, text: "Choose a state (with Shift: 10 steps)" },
  { group: "Looking", key: "v", stored: true, text: "Follow the session again", run: () => { state.proposal = -1; app.stage.clear(); choose(app.tree.head); }, when: () => true },
  { group: "Looking", key: "?", stored: true, text: "This help", run: toggleHelp, when: () => true },
];
const BARS = ["controls", "view-buttons", "drive-buttons", "steer-buttons", "chosen-buttons", "queue-buttons"];
const byKey = new Map(BINDINGS.filter((one) => one.run).map((one) => [one.key === "space" ? " " : one.key, one]));
const glyph = (key) => ({ Enter: "⏎", Backspace: "⌫" })[key] ?? key;

function steer(change) {
  app.hands[change]();
  buildArms();
  showEnabled();
}

export function buildControls() {
  for (const bar of BARS) {
    $(bar).replaceChildren(...BINDINGS.filter((one) => one.bar === bar && (!state.stored || one.stored)).map((one) => {
      const text = state.stored && one.key === "space" ? "Play" : one.short ?? one.text;
      const button = make("button", `${text} `, { type: "button", "data-key": one.key, title: one.text, class: one.drives ? "drives" : "" });
      if (one.key === "t" || one.key === "h") button.classList.add("strong");
      button.append(make("kbd", glyph(one.key)));
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

export function pressPad(name) { press(byKey.get(PAD_BUTTONS[name])); }

export function showEnabled() {
  const mode = state.control?.mode;
  for (const button of document.querySelectorAll(BARS.map((bar) => `#${bar} button`).join(", "))) {
    const binding = BINDINGS.find((one) => one.key === button.dataset.key);
    const why = problem(binding);
    button.disabled = Boolean(why) || !binding.when();
    button.title = why || binding.text;
    button.hidden = binding.shown ? !binding.shown() : false;
    const say = (text) => { button.firstChild.textContent = `${text} `; };
    if (binding.key === "q") button.setAttribute("aria-pressed", String(app.hands.demonstration));
    if (binding.key === "h") say(app.hands.demonstration ? "Finish" : "Hand back");
    if (binding.key === ";") say(`Frame: ${app.hands.frame}`);
    if (binding.key === "-") say(`Speed: ${100 * app.hands.speed} %`);
    if (binding.key === "/") button.setAttribute("aria-pressed", String(app.stage.overlaid));
    if (binding.key === "space" && live()) {
      say({ PAUSED: "Resume", STOPPED: "Clear the stop" }[mode] ?? "Pause");
      button.classList.toggle("strong", mode === "STOPPED");
    }
  }
  $("stop-button").disabled = !able();
}

// ---- keyboard ----

const typing = (target) => target instanceof HTMLElement && (target.closest("input:not([type=range]), textarea, select") || target.isContentEditable);

addEventListener("keydown", (event) => {
  if (event.key === "Escape") { closeDialogs(); return; }
  if (event.ctrlKey || event.altKey || event.metaKey || typing(event.target)) return;
  const { hands } = app;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // Over a dialog, only its own keys and STOP have a function.
  if (document.querySelector("dialog[open]") && key !== "?" && key !== "x") return;
  if (key === "Shift") return;
  if (live() && hands.moveOf(key, event.shiftKey)) {
    event.preventDefault();
    if (!event.repeat) {
      hands.key(key, true, event.shiftKey);
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
  const { hands } = app;
  const key = event.key.toLowerCase();
  if (key === "shift") hands.unshift();
  else if (hands.keys.has(key)) hands.key(key, false);
});
// The arrows work from anywhere on the page, not only in the tree.
addEventListener("keydown", (event) => {
  if (!event.key.startsWith("Arrow") || event.defaultPrevented || typing(event.target)) return;
  if (document.querySelector("dialog[open]") || event.target === $("scrub")) return;
  app.view.key(event);
});

// ---- help ----

function toggleHelp() {
  if ($("help").open) { $("help").close(); return; }
  const groups = new Map();
  for (const one of BINDINGS) {
    if (!state.stored || one.stored) groups.set(one.group, [...(groups.get(one.group) ?? []), [glyph(one.key), one.text]]);
  }
  if (!state.stored) {
    for (const arm of app.hands.arms) {
      groups.set(`${armTitle(arm.name)}, while you have control`, arm.controls.map((one) => [
        [one.minus, one.plus].filter(Boolean).map(keyText).join(" ") || "pad", `${one.title}: ${one.ways.join(", ")}`,
      ]));
    }
    groups.set("Touch or mouse", [["pad", "a touch takes over; letting go of all pads stops the arms and pauses"]]);
    groups.set("Gamepad", [["RB", "hold: take over; release: hand back"], ["sticks", "left and right arm"], ["A B", "success, failure"], ["X Y", "fork, back 10 steps"], ["Back Start", "stop, pause"]]);
    groups.set("SpaceMouse", [["cap", "moves an arm"], ["left", "take over, hand back"], ["right", "other arm"]]);
  }
  fillHelp($("help-table"), [...groups]);
  openDialog($("help"));
}

$("help-button").addEventListener("click", toggleHelp);
$("stop-button").addEventListener("click", () => press(byKey.get("x")));
