// One card for each arm: a touch pad with its keys at the edges, a rocker for every further motion,
// and the gripper. All of it comes from the key map, so any embodiment has its own.
//
// Touching anything here takes over; letting go of everything stops the arms and releases control.

import { $, app, make, state } from "./app.js";
import { armTitle, keyText } from "./key_map.js";

const shown = []; // {entry, element, show(value)}: what a card shows while an axis moves
const grippers = []; // {entry, bar, text}
const tips = new Map(); // arm -> where its tip's position is written

const kbd = (key, kind = "") => make("kbd", keyText(key), { class: kind });

// Keeps a pointer on an element until it is lifted, wherever it goes.
function hold(element, axesAt) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    element.setPointerCapture(event.pointerId);
    app.hands.touchPad(event.pointerId, axesAt(event));
  });
  element.addEventListener("pointermove", (event) => {
    if (app.hands.pads.has(event.pointerId)) app.hands.touchPad(event.pointerId, axesAt(event));
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
    element.addEventListener(kind, (event) => app.hands.lift(event.pointerId));
  }
  // A long touch must not open the browser's menu.
  element.addEventListener("contextmenu", (event) => event.preventDefault());
}

function padOf(arm) {
  const [x, y] = arm.plane;
  const pad = make("div", "", { class: "pad", role: "group", "aria-label": `${arm.name} arm: move in the plane` });
  const knob = make("span", "", { class: "knob" });
  const at = Object.fromEntries(arm.controls.map((one) => [one.entry, one]));
  pad.append(knob, kbd(at[x].minus, "west"), kbd(at[x].plus, "east"), kbd(at[y].minus, "south"), kbd(at[y].plus, "north"));
  for (const key of pad.querySelectorAll("kbd")) key.hidden = !key.textContent;
  // Full speed at four fifths of the way to the edge; none in the middle.
  const value = (offset, half) => {
    const part = Math.max(-1, Math.min(1, offset / (0.8 * half)));
    return Math.abs(part) < 0.12 ? 0 : part;
  };
  hold(pad, (event) => {
    const box = pad.getBoundingClientRect();
    return [
      [x, value(event.clientX - box.x - box.width / 2, box.width / 2)],
      [y, value(box.y + box.height / 2 - event.clientY, box.height / 2)],
    ];
  });
  shown.push({ entries: [x, y], show: ([right, up]) => {
    knob.style.transform = `translate(${right * 34}px, ${-up * 34}px)`;
    pad.classList.toggle("moving", Boolean(right || up));
  } });
  return pad;
}

function halfOf(control, sign) {
  const key = sign < 0 ? control.minus : control.plus;
  const way = control.ways[sign < 0 ? 0 : 1];
  const button = make("button", "", { type: "button", class: "half", tabindex: -1, "aria-label": `${control.name}: ${way}` });
  button.dataset.entry = control.entry;
  button.dataset.sign = sign;
  button.append(make("span", way, { class: "way" }));
  if (key) button.append(kbd(key));
  hold(button, () => [[control.entry, sign]]);
  shown.push({ entries: [control.entry], show: ([value]) => button.classList.toggle("moving", value * sign > 0) });
  return button;
}

function rockerOf(control) {
  const rocker = make("div", "", { class: `rocker ${control.kind}`, role: "group", "aria-label": control.name });
  const middle = make("span", control.title, { class: "axis", title: control.name });
  if (control.kind === "gripper") {
    const bar = make("meter", "", { min: 0, max: 1, value: 0, "aria-label": `${control.name}: how far it is open` });
    const text = make("output", "?");
    middle.replaceChildren("gripper ", text, bar);
    grippers.push({ entry: control.entry, bar, text });
  }
  rocker.append(halfOf(control, -1), middle, halfOf(control, 1));
  return rocker;
}

export function buildArms() {
  shown.length = grippers.length = 0;
  tips.clear();
  const arms = app.hands.arms;
  $("arm-cards").replaceChildren(...arms.map((arm) => {
    const card = make("div", "", { class: "arm" });
    const rockers = make("div", "", { class: "rockers" });
    for (const control of arm.controls) {
      if (!arm.plane?.includes(control.entry)) rockers.append(rockerOf(control));
    }
    const tip = make("output", "", { class: "tip", title: "where the tip is, in the arm's frame" });
    tips.set(arm.name, tip);
    const title = make("h3", `${armTitle(arm.name)} `);
    title.append(tip);
    card.append(title);
    if (arm.plane) card.append(padOf(arm));
    if (rockers.children.length) card.append(rockers);
    card.classList.toggle("wide", rockers.children.length > 4);
    card.classList.toggle("bare", !rockers.children.length);
    return card;
  }));
  showArms();
  showMeasured(); // a world that pauses sends no further tick
  app.stage.fit();
}

// Cards follow the axes that are sent, whichever device they come from.
export function showArms() {
  const { hands } = app;
  if (!hands.size) return;
  const axes = hands.engaged ? hands.axes() : new Array(hands.size).fill(0);
  for (const { entries, show } of shown) show(entries.map((entry) => axes[entry]));
}

// What holds an arm back; or the frame and speed of the device that drives instead of this page.
export function showSteering() {
  const { control } = state, teleop = state.health?.find((node) => node.name.endsWith("/teleop"));
  const driven = control?.mode === "HUMAN" && control.device !== "console";
  const note = app.hands.engaged ? state.tick?.note ?? "" : "";
  const steering = driven && teleop?.values.steering ? `${control.device}: ${teleop.values.steering}` : "";
  $("steer-text").textContent = note || steering;
  $("steer-text").classList.toggle("held", Boolean(note));
}

// Lines break between numbers, not inside one.
const placeText = ([x, y, z, yaw]) => [["x", x], ["y", y], ["z", z]].map(([axis, m]) => `${axis}\u00a0${(100 * m).toFixed(1)}`).join(" ")
  + `\u00a0cm${yaw === undefined ? "" : ` yaw\u00a0${Math.round(yaw * 180 / Math.PI)}°`}`;

// What the robot measures: how far grippers are open, and where tips are.
export function showMeasured() {
  for (const [arm, text] of tips) {
    const place = state.tick?.tips?.[arm];
    text.textContent = place ? placeText(place) : "";
  }
  for (const { entry, bar, text } of grippers) {
    const ratio = state.tick?.measured?.[entry];
    const known = typeof ratio === "number";
    bar.value = known ? ratio : 0;
    text.textContent = !known ? "?" : ratio < 0.03 ? "shut" : ratio > 0.97 ? "open" : `${Math.round(100 * ratio)} %`;
  }
}
