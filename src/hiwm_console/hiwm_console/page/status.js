// What the page says about the session: mode, who acts and why, the task, warnings, and health.

import { $, app, make, mark, mine, percent, personName, state } from "./app.js";
import { IDLE_MS } from "./hands.js";

const SHAPES = { PAUSED: "❚❚", POLICY: "▶", HUMAN: "●", HANDBACK: "◐", STOPPED: "■" };
const DEMONSTRATION = 3; // Command.SOURCE_DEMONSTRATION
const LEVELS = ["ok", "warning", "error", "no report"], LEVEL_SHAPES = ["✓", "▲", "✗", "?"];

// ---- mode ----

function headline(mode, control) {
  if (!state.connected) return "No connection to the console";
  if (state.stored) return state.description.session ?? "Stored session";
  if (mode === "POLICY") return "The policy drives";
  if (mode === "HANDBACK") return "Handing back to the policy";
  if (mode === "PAUSED") return "Nothing moves";
  if (mode === "STOPPED") return "Stopped by software";
  if (mode === "HUMAN") {
    const kind = control.source === DEMONSTRATION || (app.hands.engaged && app.hands.demonstration) ? "demonstration" : "correction";
    if (app.hands.engaged) return `You drive: ${kind}`;
    if (control.device !== "console") return `${control.device} drives: ${kind}`;
    return mine() ? "You released control" : `${personName(state.seats?.driver)} drives: ${kind}`;
  }
  return "Waiting for the session";
}

export function showMode(why = "") {
  const { control } = state;
  const mode = !state.connected || state.stored ? "" : control?.mode ?? "";
  for (const name of Object.keys(SHAPES)) document.body.classList.toggle(name, name === mode);
  $("mode-shape").textContent = SHAPES[mode] ?? (state.connected ? "" : "✗");
  $("mode-name").textContent = state.connected ? (state.stored ? "STORED SESSION" : mode || "WAITING") : "NO CONNECTION";
  $("who").textContent = headline(mode, control);
  $("reason").textContent = !state.connected ? `${why || "connecting"}; trying again`
    : state.stored ? storedText() : control?.reason ?? "no message from the session yet";
  const banner = !state.connected ? "NO CONNECTION" : mode === "PAUSED" || mode === "STOPPED" ? `${SHAPES[mode]} ${mode}` : "";
  $("banner").textContent = banner;
  $("banner").hidden = !banner || state.stored;
  $("stop-button").setAttribute("aria-pressed", String(mode === "STOPPED"));
  $("stop-word").textContent = mode === "STOPPED" ? "STOPPED" : "STOP";
  showSince();
  showTimes();
}

function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function showSince() {
  const { control } = state, { hands } = app;
  const known = control && state.connected && !state.stored;
  $("since").textContent = known ? clock(control.since_s + (performance.now() - control.at) / 1000) : "";
  const left = IDLE_MS - (performance.now() - hands.touched);
  const lapses = hands.engaged && !hands.keys.size && !hands.pads.size && left < 3000;
  const kind = hands.demonstration ? "demonstration" : "correction";
  $("hands").textContent = !hands.engaged ? handsHint()
    : `You have control, recorded as a ${kind}${lapses ? `; it ends in ${Math.max(0, left / 1000).toFixed(0)} s without a key` : ""}`;
  document.body.classList.toggle("driving", hands.engaged);
}

function handsHint() {
  if (!state.access.drive) return "";
  if (state.control?.mode === "STOPPED") return "Clear the stop to drive";
  return matchMedia("(pointer: coarse)").matches ? "A touch on a pad takes over" : "t takes over; a touch on a pad does too";
}

export function storedText() {
  const { task = "", world = "", software_version: version = "" } = state.description;
  return [task && `${task} in ${world}`, "can be viewed and labelled, not driven", version && `recorded by ${version}`].filter(Boolean).join(", ");
}

// ---- task and numbers ----

export function showTask() {
  const { world } = state;
  const where = world.kind === "hardware" ? `${world.robot}${world.stand_in ? " (stand-in)" : ""}` : "imagination";
  const words = world.instruction || world.task.replaceAll("_", " ");
  $("instruction").textContent = words.charAt(0).toUpperCase() + words.slice(1);
  $("trust").closest("label").hidden = world.kind === "hardware"; // what a robot shows is true
  $("world-name").textContent = `${world.task.replaceAll("_", " ")} in ${where}`;
}

export function showTick() {
  const { tick } = state;
  for (const key of ["progress", "success", "trust"]) {
    $(key).value = tick[key] ?? 0;
    $(key).hidden = tick[key] === null; // an empty bar would read as 0
    $(`${key}-text`).textContent = tick[key] === null ? "?" : percent(tick[key]);
  }
  $("where").textContent = `${tick.branch}, step ${tick.step}`;
  $("rate").textContent = `${tick.rate.toFixed(1)} ticks/s`;
  const head = `${tick.branch}:${tick.step}`;
  if (head !== app.view.head) { app.view.head = head; app.view.draw(); }
}

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
}

// Times that help to judge the connection; they are not needed to drive.
export function showTimes() {
  const { latencies, takeovers } = mark;
  const rows = [];
  const both = (values) => `${quantile(values, 0.5).toFixed(0)} ms, 95 % within ${quantile(values, 0.95).toFixed(0)} ms`;
  if (latencies.length) rows.push(["from a key to the picture that shows it", both(latencies)]);
  if (takeovers.length) rows.push(["from taking over to the first picture", both(takeovers)]);
  if (state.control?.takeover_ms != null) rows.push(["last takeover, until the robot's first command", `${state.control.takeover_ms.toFixed(1)} ms`]);
  if (app.link.round !== null) rows.push(["network, there and back", `${app.link.round.toFixed(0)} ms`]);
  $("times").replaceChildren(...rows.flatMap(([what, value]) => [make("dt", what), make("dd", value)]));
}

export function showHealth() {
  const worst = Math.max(0, ...state.health.map((node) => node.level));
  $("health-text").textContent = `${LEVEL_SHAPES[worst]} ${LEVELS[worst]}, ${state.health.length} nodes`;
  showAlerts();
  if (!$("health").open && worst === 0) return;
  $("health-list").replaceChildren(...state.health.map((node) => {
    const values = Object.entries(node.values).map(([key, value]) => `${key} ${value}`).join(", ");
    return make("li", `${LEVEL_SHAPES[node.level] ?? "?"} ${node.name}: ${node.message}${values ? ` (${values})` : ""}`);
  }));
}

// ---- seats ----

export function showSeat() {
  const { seats } = state;
  if (!seats || state.stored) return;
  const count = Object.keys(seats.people).length;
  const people = `${count} ${count === 1 ? "person" : "people"} here`;
  $("seat-text").textContent = !state.access.drive ? "view only"
    : seats.driver === null ? `controls free, ${people}` : `${mine() ? "you have" : `${personName(seats.driver)} has`} the controls, ${people}`;
  $("seat-text").title = state.access.drive ? "" : state.access.reason;
  showAlerts();
}

// ---- alerts: what a person must know or decide now ----

let lostWhy = "";
export function showLost(why) { lostWhy = why; showAlerts(); }

function alert(kind, text, buttons = []) {
  const line = make("div", "", { class: `alert ${kind}`, role: kind === "ask" ? "group" : "alert" });
  line.append(make("p", text), ...buttons);
  return line;
}

function button(text, key, run, name = "") {
  const element = make("button", `${text} `, { type: "button" });
  if (name) element.id = name;
  if (key) element.append(make("kbd", key));
  element.addEventListener("click", run);
  return element;
}

// The robot bridge whose interlock has tripped; null if none has.
const tripped = () => state.health?.find((node) => node.values.phase === "stopped") ?? null;

export function showAlerts() {
  const list = [], { seats } = state;
  const wish = (what) => () => app.link.send({ type: "seat", do: what });
  const stopped = tripped();
  if (stopped) {
    const why = stopped.message.replace(/^stopped: /, "").replace(/; then call world\/rearm$/, "");
    const ready = button("Re-arm the robot", "", () => app.act({ action: "rearm" }), "rearm");
    ready.disabled = !state.access.drive;
    list.push(alert("bad", `The robot stopped itself: ${why}. Clear the cause at the robot, then re-arm.`, [ready]));
  }
  for (const node of state.health ?? []) {
    if (node.level > 0 && node !== stopped) list.push(alert(node.level > 1 ? "bad" : "warn", `${node.name.split("/").pop().replaceAll("_", " ")}: ${node.message}`));
  }
  if (lostWhy) list.push(alert("warn", `You have lost control: ${lostWhy}. The robot holds still. Take over again to continue.`, [button("Close", "", () => showLost(""))]));
  const ask = make("span", "", { id: "seat-buttons" });
  if (seats && state.access.drive && !state.stored) {
    if (mine() && seats.asking !== null) {
      ask.append(button(`Give to ${personName(seats.asking)}`, "o", wish("give")), button("Keep", "e", wish("keep")));
      list.push(alert("ask", `${personName(seats.asking)} asks for the controls`, [ask]));
    } else if (!mine() && seats.driver !== null) {
      ask.append(button(seats.asking === state.id ? "Asked …" : "Ask for the controls", "o", wish("ask")));
      list.push(alert("ask", `${personName(seats.driver)} has the controls: you watch`, [ask]));
    }
  }
  const text = list.map((line) => line.textContent).join("\n");
  if ($("alerts").dataset.text === text) return; // buttons that a person is about to press stay
  $("alerts").dataset.text = text;
  $("alerts").replaceChildren(...list);
}
