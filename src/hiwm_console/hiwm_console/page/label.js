// The labelling page: plays episode after episode; a key stores the verdict and shows the next.

import { $, make, percent, toast } from "./app.js";
import { Frames, Player } from "./label_player.js";
import { Screen } from "./label_screen.js";

const SHAPES = { success: "✓", failure: "✗" };
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const headers = token ? { Authorization: `Bearer ${token}` } : {};

const state = { episodes: [], labels: [], frames: "", mayLabel: false, reason: "", at: -1, opened: null, begun: 0, given: 0 };
const ready = new Map(); // number -> promise of {opened, frames}
const player = new Player(new Screen(), { shown: showPlace, ended: showPlace });
window.hiwmLabels = { state, player, go, give };

async function ask(address, options = {}) {
  try {
    const answer = await fetch(address, { ...options, headers: { ...headers, ...options.headers } });
    const text = await answer.text();
    try { return { ok: answer.ok, ...JSON.parse(text) }; } catch { return { ok: false, message: text.trim() }; }
  } catch {
    return { ok: false, message: "no connection to the console" };
  }
}

// ---- episodes ----

async function refresh() {
  const found = await ask("/label/episodes");
  if (!found.episodes) { $("refused").textContent = found.message; $("refused").hidden = false; return; }
  Object.assign(state, { episodes: found.episodes, labels: found.labels, frames: found.frames, mayLabel: found.may_label, reason: found.reason });
  $("folder").textContent = found.folder;
  $("refused").textContent = `You can look, not label: ${found.reason}`;
  $("refused").hidden = found.may_label;
  buildButtons();
  showList();
  if (state.at < 0 && state.episodes.length) go(Math.max(0, nextWithout(-1)));
  if (!state.episodes.length) $("name").textContent = "no episode is stored here yet";
}

const done = (episode) => Boolean(episode.label) && !episode.problem;

// The next episode without a label after a place, from the start again at the end; -1 if none.
function nextWithout(place) {
  const count = state.episodes.length;
  for (let i = 1; i <= count; i++) if (!done(state.episodes[(place + i) % count])) return (place + i) % count;
  return -1;
}

function load(place) {
  const { number } = state.episodes[place];
  if (!ready.has(number)) {
    ready.set(number, ask(`/label/episodes/${number}`).then((opened) => {
      if (!opened.ok) { ready.delete(number); return { opened, frames: null }; }
      const frames = new Frames(`${state.frames}${number}/`, opened.steps, opened.cameras);
      frames.ahead(Math.max(1, Math.round(opened.rate * player.speed / 15)));
      return { opened, frames };
    }));
  }
  return ready.get(number);
}

function forget(keep) {
  for (const [number, promise] of ready) {
    if (keep.includes(number)) continue;
    ready.delete(number);
    promise.then(({ frames }) => frames?.close());
  }
}

async function go(place, play = true) {
  if (!state.episodes[place]) return;
  state.at = place;
  state.opened = null;
  player.stop();
  const following = [place, nextWithout(place)].filter((one) => one >= 0 && state.episodes[one]);
  forget([...following, place - 1].filter((one) => state.episodes[one]).map((one) => state.episodes[one].number));
  showList();
  showEpisode();
  const { opened, frames } = await load(place);
  if (state.at !== place) return; // the person went on meanwhile
  state.opened = opened.ok ? opened : null;
  if (!opened.ok) { Object.assign(state.episodes[place], { problem: opened.message }); player.frames = null; }
  else { keepLabel(place, opened); player.show(frames, opened.rate); if (play) player.play(); }
  showEpisode();
  showList();
  following.slice(1).forEach(load);
}

function keepLabel(place, { label, progress, note, who, when_ms, problem }) {
  Object.assign(state.episodes[place], { label, progress, note, who, when_ms, problem });
}

// ---- labels ----

// Stores a change of the present episode's label. What is shown changes at once; if the console
// refuses, the page says so and shows what is stored.
let sending = Promise.resolve();
async function give(change, onwards = false) {
  const place = state.at, episode = state.episodes[place], opened = state.opened;
  if (!episode || !opened) return;
  if (!state.mayLabel) { toast(state.reason, "bad"); return; }
  const before = { ...episode };
  // A stale label's parts said something of another content.
  const base = episode.problem ? { label: "", progress: [], note: "" } : episode;
  Object.assign(episode, base, change, { who: $("who").value, when_ms: Date.now(), problem: "" });
  if ("label" in change && change.label) { state.begun ||= performance.now(); state.given++; }
  showList();
  if (onwards) { const next = nextWithout(place); if (next >= 0) go(next); else { showEpisode(); toast("every episode has a label", "good"); } } else showEpisode();
  const body = JSON.stringify({ label: episode.label, progress: episode.progress, note: episode.note, who: episode.who, seen: opened.seen });
  const turn = episode.turn = (episode.turn ?? 0) + 1;
  // One after another: each holds all of the label, and the last one counts.
  sending = sending.then(() => ask(`/label/episodes/${episode.number}`, { method: "POST", headers: { "Content-Type": "application/json" }, body }));
  const answer = await sending;
  if (answer.ok && turn === episode.turn) keepLabel(place, answer);
  else if (!answer.ok) {
    Object.assign(episode, before, { problem: answer.message });
    ready.delete(episode.number); // it may have changed: look at it again
    toast(`${episode.name}: not stored: ${answer.message}`, "bad");
  }
  showList();
  if (state.at === place) showEpisode();
}

const stepHere = () => state.opened?.steps[player.index];

function markProgress(value) {
  const step = stepHere();
  if (step === undefined) return;
  const episode = state.episodes[state.at];
  const others = (episode.problem ? [] : episode.progress).filter(([at]) => at !== step);
  give({ progress: [...others, [step, value]].sort((a, b) => a[0] - b[0]) });
}

function removeMark() {
  const { progress } = state.episodes[state.at] ?? { progress: [] };
  if (!progress.length) return;
  const here = stepHere();
  const nearest = progress.reduce((best, one) => (Math.abs(one[0] - here) < Math.abs(best[0] - here) ? one : best));
  give({ progress: progress.filter((one) => one !== nearest) });
}

// ---- display ----

function showPlace() {
  $("scrub").max = player.last;
  $("scrub").value = player.index;
  const step = stepHere();
  $("step").textContent = step === undefined ? "" : `step ${step} of ${state.opened.steps.at(-1)}`;
  const mark = state.episodes[state.at]?.progress.find(([at]) => at === step);
  $("progress-here").textContent = mark ? `progress ${percent(mark[1])}` : "";
  $("speed").textContent = `${player.playing ? "▶" : "❚❚"} ${player.speed} × real time`;
}

function showEpisode() {
  const episode = state.episodes[state.at];
  if (!episode) return;
  $("name").textContent = episode.name;
  $("verdict").textContent = episode.label ? `${SHAPES[episode.label] ?? "•"} ${episode.label}` : "";
  $("verdict").className = episode.label;
  $("problem").textContent = episode.problem;
  $("problem").hidden = !episode.problem;
  $("loading").textContent = "loading …";
  $("loading").hidden = Boolean(state.opened) || Boolean(episode.problem);
  for (const button of document.querySelectorAll("#verdicts button")) button.classList.toggle("given", button.dataset.label === episode.label && Boolean(episode.label));
  const first = state.opened?.steps[0] ?? 0, last = state.opened?.steps.at(-1) ?? 1;
  $("marks").replaceChildren(...(state.opened ? episode.progress : []).map(([step, value]) => {
    const mark = make("span", percent(value));
    const part = 100 * (step - first) / Math.max(1, last - first);
    Object.assign(mark.style, { left: `${part}%`, transform: `translateX(-${part}%)` });
    return mark;
  }));
  showPlace();
}

function showList() {
  const { episodes } = state;
  const labelled = episodes.filter(done).length;
  const pace = state.given > 1 ? (performance.now() - state.begun) / 1000 / (state.given - 1) : 0;
  const left = pace ? `, ${pace.toFixed(1)} s each, ${Math.ceil(pace * (episodes.length - labelled) / 60)} min left` : "";
  $("done").textContent = `${labelled} of ${episodes.length} labelled${left}`;
  const list = $("list");
  while (list.children.length > episodes.length) list.lastElementChild.remove();
  while (list.children.length < episodes.length) {
    const place = list.children.length, item = make("li"), button = make("button", "", { type: "button", tabindex: -1 });
    button.append(make("span", "", { class: "shape" }), make("span", "", { class: "name" }), make("small"));
    button.addEventListener("click", () => go(place));
    item.append(button);
    list.append(item);
  }
  episodes.forEach((episode, place) => {
    const button = list.children[place].firstElementChild;
    const [shape, name, small] = button.children;
    button.className = `${episode.problem ? "stale" : episode.label}${place === state.at ? " chosen" : ""}`;
    shape.textContent = episode.problem ? "▲" : SHAPES[episode.label] ?? (episode.label ? "•" : "");
    name.textContent = episode.name;
    const when = episode.when_ms ? new Date(episode.when_ms).toLocaleString([], { dateStyle: "short", timeStyle: "short" }) : "";
    const marks = episode.progress.length ? `${episode.progress.length} progress` : "";
    small.textContent = episode.problem || [episode.label && (episode.who || "unknown"), episode.label && when, marks, episode.note].filter(Boolean).join(" · ") || "no label";
    button.title = small.textContent;
  });
  const chosen = list.children[state.at], panel = $("episodes");
  if (!chosen) return;
  const top = chosen.offsetTop - panel.offsetTop; // only the list scrolls, not the page
  if (top < panel.scrollTop || top + chosen.offsetHeight > panel.scrollTop + panel.clientHeight) panel.scrollTop = top - panel.clientHeight / 3;
}

// ---- keys and buttons ----

const seek = (places) => { player.stop(); player.seek(player.index + places); };
const KEYS = {
  y: { text: "✓ Success", run: () => give({ label: "success" }, true), verdict: "success" },
  n: { text: "✗ Failure", run: () => give({ label: "failure" }, true), verdict: "failure" },
  Enter: { text: "Next unlabelled", glyph: "⏎", run: () => { const next = nextWithout(state.at); if (next >= 0) go(next); }, verdict: "skip" },
  " ": { text: "Play, pause", glyph: "space", run: () => { player.playing ? player.stop() : player.play(); showPlace(); } },
  ArrowUp: { text: "Previous", glyph: "↑", run: () => go(state.at - 1) },
  ArrowDown: { text: "Next", glyph: "↓", run: () => go(state.at + 1) },
  d: { text: "Done here", run: () => markProgress(1) },
  u: { text: "Remove the label", run: () => give({ label: "" }) },
  m: { text: "Note", run: () => { $("note-form").hidden = false; $("note").value = state.episodes[state.at]?.note ?? ""; $("note").focus(); } },
  "[": { run: () => player.faster(-1) }, "]": { run: () => player.faster(1) },
  ArrowLeft: { run: (event) => seek(event.shiftKey ? -10 : -1) }, ArrowRight: { run: (event) => seek(event.shiftKey ? 10 : 1) },
  Home: { run: () => seek(-1e9) }, End: { run: () => seek(1e9) }, Backspace: { run: removeMark },
};

function buildButtons() {
  const buttonOf = (key, one) => {
    const button = make("button", `${one.text} `, { type: "button", class: one.verdict ?? "", "data-label": one.verdict ?? "" });
    button.append(make("kbd", one.glyph ?? key));
    button.disabled = !state.mayLabel && ["y", "n", "d", "u", "m"].includes(key);
    button.addEventListener("click", (event) => { one.run(event); button.blur(); });
    return button;
  };
  const entries = Object.entries(KEYS);
  $("verdicts").replaceChildren(...["n", "y", "Enter"].map((key) => buttonOf(key, KEYS[key])));
  const further = state.labels.filter((label) => !(label in SHAPES)).map((label) => {
    const button = make("button", label, { type: "button" });
    button.addEventListener("click", () => give({ label }, true));
    return button;
  });
  $("tools").replaceChildren(...entries.filter(([, one]) => one.text && !one.verdict).map(([key, one]) => buttonOf(key, one)), ...further);
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target instanceof HTMLElement && event.target.closest("input:not([type=range])")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (/^[0-9]$/.test(key)) { event.preventDefault(); if (!event.repeat) markProgress(Number(key) / 10); return; }
  const one = KEYS[key];
  if (!one || (event.repeat && !key.startsWith("Arrow"))) return;
  if ((key === "Enter" || key === " ") && event.target instanceof HTMLElement && event.target.closest("button, a")) return;
  event.preventDefault();
  one.run(event);
});
$("scrub").addEventListener("input", () => { player.stop(); player.seek(Number($("scrub").value)); });
$("note-form").addEventListener("submit", (event) => { event.preventDefault(); give({ note: $("note").value }); $("note-form").hidden = true; $("note").blur(); });
$("who").value = localStorage.getItem("hiwm-name") ?? "";
$("who").addEventListener("change", () => localStorage.setItem("hiwm-name", $("who").value));
refresh();
