// Plays a twin: views of each step, its numbers, and curves over all steps.

import { $, make, setSource } from "./app.js";

const MOST_DB = 45; // upper end of the curve of PSNR, as in the video
const AHEAD = 8; // views loaded before they are shown
const CURVES = [
  ["psnr_db", "--policy", () => MOST_DB], ["error", "--stopped", (run) => 2 * run.measure.bad_error],
  ["trust", "--good", () => 1],
];
const NAMES = {
  step: "step", psnr_db: "PSNR, dB", error: "error", joints_off: "joints off by", trust: "trust",
  progress: "progress", success: "success",
};

let views = "";
let number = 0;
let run = null;
let at = 0;
let timer = 0;

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

async function open(index) {
  play(false);
  const answer = await fetch(`/twin/runs/${index}`);
  if (!answer.ok) { problem(await answer.text()); return; }
  number = index;
  run = await answer.json();
  $("problem").hidden = true;
  $("video").href = `/twin/video/${index}`;
  $("about").textContent = `${run.task} · ${run.truth} (${run.recorded_on}) · ${run.world_model}${run.interrupted ? " · interrupted" : ""}`;
  $("scrub").max = run.rows.length - 1;
  $("legend").replaceChildren(...CURVES.map(([key, , most]) => make("span", `${title(key)}, 0 to ${most(run)}`, { class: key })));
  show(0);
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = false;
}

async function begin() {
  const answer = await fetch("/twin/runs");
  if (!answer.ok) { problem(await answer.text()); return; }
  const list = await answer.json();
  views = list.views;
  $("run").replaceChildren(...list.runs.map((name, i) => make("option", name, { value: i })));
  if (!list.runs.length) { problem(`no twin in ${list.folder} yet: scripts/twin --output writes one into a folder there`); return; }
  $("run").value = list.runs.length - 1;
  await open(list.runs.length - 1);
}

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
