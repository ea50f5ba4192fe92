// Plays a twin: views of each step, its numbers, and curves over all steps. Follows one that runs.

import { $, make, setSource } from "./app.js";

const MOST_DB = 45; // upper end of the curve of PSNR, as in the video
const LOOK_MS = 500; // between two looks at a run in progress
const AHEAD = 8; // views loaded before they are shown
const CURVES = [
  ["psnr_db", "--policy", () => MOST_DB], ["error", "--stopped", (run) => 2 * run.measure.bad_error],
  ["trust", "--good", () => 1],
];
const NAMES = {
  step: "step", psnr_db: "PSNR, dB", error: "error", joints_off: "joints off by", trust: "trust",
  progress: "progress", success: "success",
};

const token = new URLSearchParams(location.hash.slice(1)).get("token");
const headers = token ? { Authorization: `Bearer ${token}` } : {};
let views = "";
let number = 0;
let run = null;
let at = 0;
let timer = 0;
let following = 0; // timer of the next look
let names = [];
let waiting = ""; // name of a run that was started and has no step yet

function shown(key, value) {
  if (value === null || value === undefined) return "?";
  if (key === "step") return String(value);
  if (["trust", "progress", "success"].includes(key)) return value.toFixed(2);
  return Math.abs(value) >= 10 ? value.toFixed(1) : String(Number(value.toPrecision(3)));
}
const address = (index) => `${views}${number}/${index}`;

function title(key) {
  if (key === "error") return `error, ${run.measure.error_unit}`;
  return NAMES[key] ?? run.measure.columns[key] ?? key;
}

function show(index) {
  at = Math.max(0, Math.min(index, run.rows.length - 1));
  $("scrub").value = at;
  setSource($("views"), address(at));
  $("views").alt = `step ${run.rows[at].step}: true, imagined, difference`;
  for (let i = 1; i <= AHEAD && at + i < run.rows.length; i++) new Image().src = address(at + i);
  $("numbers").replaceChildren(...Object.entries(run.rows[at]).map(([key, value]) => {
    const pair = make("div");
    pair.append(make("dt", title(key)), make("dd", shown(key, value)));
    return pair;
  }));
  draw();
}

function draw() {
  const canvas = $("curves"), pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const last = Math.max(1, run.rows.length - 1);
  const x = (i) => 4 + (canvas.width - 8) * i / last;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  for (const [key, colour, most] of CURVES) {
    pen.strokeStyle = style.getPropertyValue(colour);
    pen.lineWidth = 3;
    pen.beginPath();
    let begun = false;
    run.rows.forEach((row, i) => {
      if (row[key] === null) { begun = false; return; }
      const y = canvas.height - 4 - (canvas.height - 8) * Math.max(0, Math.min(1, row[key] / most(run)));
      begun ? pen.lineTo(x(i), y) : pen.moveTo(x(i), y);
      begun = true;
    });
    pen.stroke();
  }
  pen.strokeStyle = "#111"; pen.lineWidth = 1;
  pen.beginPath(); pen.moveTo(x(at), 0); pen.lineTo(x(at), canvas.height); pen.stroke();
}

function play(on = !timer) {
  clearInterval(timer);
  timer = 0;
  if (on) {
    if (at === run.rows.length - 1) show(0);
    timer = setInterval(() => { if (at === run.rows.length - 1) play(false); else show(at + 1); }, 1000 / run.fps);
  }
  $("play").firstChild.textContent = timer ? "Pause " : "Play ";
}

async function read(index) {
  const answer = await fetch(`/twin/runs/${index}`);
  if (!answer.ok) { problem(await answer.text()); return false; }
  number = index;
  run = await answer.json();
  const how = run.running ? "runs" : run.interrupted ? "interrupted" : "";
  $("about").textContent = [run.task, `${run.truth} (${run.recorded_on})`, run.world_model, how].filter(Boolean).join(" · ");
  $("scrub").max = run.rows.length - 1;
  $("video").href = `/twin/video/${index}`;
  $("video").hidden = run.running;
  return true;
}

async function open(index) {
  play(false);
  clearTimeout(following);
  if (!await read(index)) return;
  $("problem").hidden = true;
  $("legend").replaceChildren(...CURVES.map(([key, , most]) => make("span", `${title(key)}, 0 to ${most(run)}`, { class: key })));
  show(run.running ? run.rows.length - 1 : 0);
  if (run.running) following = setTimeout(follow, LOOK_MS);
}

// The last step is shown while the run goes on, unless another one has been chosen.
async function follow() {
  const atEnd = at === run.rows.length - 1;
  if (!await read(number)) return;
  show(atEnd ? run.rows.length - 1 : at);
  if (run.running) following = setTimeout(follow, LOOK_MS);
  else list();
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = false;
}

async function list() {
  const answer = await fetch("/twin/runs", { headers });
  if (!answer.ok) { problem(await answer.text()); return null; }
  const found = await answer.json();
  views = found.views;
  names = found.runs;
  $("run").replaceChildren(...names.map((name, i) => make("option", name, { value: i })));
  $("run").value = number;
  $("new").hidden = !found.may_run;
  $("start").disabled = found.run.running;
  $("stop").disabled = !found.run.running;
  if (found.run.error) problem(`${found.run.name}: ${found.run.error}`);
  return found;
}

async function begin() {
  const found = await list();
  if (!found) return;
  if (!names.length) { problem(`no twin in ${found.folder} yet: start one here, or let scripts/twin --output write one into a folder there`); return; }
  $("run").value = names.length - 1;
  await open(names.length - 1);
}

// A run appears in the list with its first step.
async function awaitFirst() {
  const found = await list();
  const index = names.indexOf(waiting);
  if (index >= 0) {
    $("run").value = index;
    await open(index);
    if (!run.running && found.run.running) setTimeout(list, LOOK_MS);  // it was shorter than a look
  }
  else if (found?.run.running) setTimeout(awaitFirst, LOOK_MS);
}

async function send(address, body) {
  const answer = await fetch(address, { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const text = await answer.text();
  try { return JSON.parse(text); } catch { return { ok: false, message: text }; }
}

$("new").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData($("new"));
  $("problem").hidden = true;
  const answer = await send("/twin/runs", {
    truth: form.get("truth").trim(), policy: form.get("policy").trim(), seed: Number(form.get("seed")), steps: Number(form.get("steps")),
  });
  if (!answer.ok) { problem(answer.message); return; }
  waiting = answer.name;
  awaitFirst();
});
$("stop").addEventListener("click", () => send("/twin/stop", {}));
$("run").addEventListener("change", () => open(Number($("run").value)));
$("scrub").addEventListener("input", () => { play(false); show(Number($("scrub").value)); });
$("play").addEventListener("click", (event) => { if (run) play(); if (event.detail > 0) $("play").blur(); });
addEventListener("keydown", (event) => {
  if (!run || event.ctrlKey || event.altKey || event.metaKey || event.target.closest?.("select, a, input, button")) return;
  const step = event.shiftKey ? 10 : 1;
  if (event.key === " ") play();
  else if (event.key === "ArrowRight") { play(false); show(at + step); }
  else if (event.key === "ArrowLeft") { play(false); show(at - step); }
  else return;
  event.preventDefault();
});

begin();
