// The chosen state with a strip of frames to scrub, and the queue of states worth a correction.

import { $, app, make, percent, setSource, state, toast } from "./app.js";
import { SOURCES } from "./tree_view.js";

const STRIP = 11; // frames in the filmstrip
let stripTimer = 0;
let playing = 0;

export function choose(id, from = "") {
  state.chosen = id;
  state.following = id === app.tree.head && from !== "queue";
  if (from !== "queue") state.proposal = state.proposals.findIndex((one) => one.node === id);
  showChosen();
  showQueue();
}

// The node for a request; empty: the current state.
export function chosenNode() { return state.following ? "" : state.chosen; }

export function showChosen() {
  const node = app.tree.node(state.chosen);
  app.view.chosen = state.chosen;
  app.view.draw();
  app.showEnabled();
  if (!node) { $("chosen-text").textContent = "no state yet"; return; }
  const source = SOURCES[node.source]?.name ?? "?";
  const label = node.branch.label ? `labelled ${node.branch.label}` : "";
  const more = [`by ${source}`, `trust ${percent(node.trust)}`, `progress ${percent(node.progress)}`, label, node.branch.discarded ? "discarded" : "", node.branch.note].filter(Boolean);
  $("chosen-text").textContent = `${state.following ? "Now: " : ""}${node.id} · ${more.join(" · ")}`;
  // While it follows the session, once a second is enough: the live picture shows the rest.
  if (!state.following) { clearTimeout(stripTimer); stripTimer = 0; showStrip(); }
  else if (!stripTimer) stripTimer = setTimeout(() => { stripTimer = 0; showStrip(); }, 1000);
}

function showStrip() {
  const { tree } = app;
  const node = tree.node(state.chosen);
  if (!node) return;
  const line = tree.line(tree.last(node.branch));
  const place = line.findIndex((at) => at.id === node.id);
  const scrub = $("scrub");
  scrub.max = line.length - 1;
  scrub.value = place;
  scrub.setAttribute("aria-valuetext", node.id);
  for (const id of state.stored ? ["still", "large-still"] : ["still"]) {
    setSource($(id), state.frames + node.id);
    $(id).alt = `frame of ${node.id}`;
    $(id).hidden = false;
  }
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
  const { tree } = app;
  const node = tree.node(state.chosen);
  const at = node && tree.line(tree.last(node.branch))[Number($("scrub").value)];
  if (at) choose(at.id);
});

// Plays the frames of a stored session, or stops.
export function play() {
  if (playing) { clearInterval(playing); playing = 0; return; }
  playing = setInterval(() => {
    const { tree } = app;
    const node = tree.node(state.chosen);
    const line = node ? tree.line(tree.last(node.branch)) : [];
    const next = line[line.findIndex((at) => at.id === node?.id) + 1];
    if (next) choose(next.id); else play();
  }, 100);
}

// ---- the queue of failures ----

export function showQueue() {
  app.view.marks = new Map(state.proposals.map((one, i) => [one.node, i + 1]));
  app.view.draw();
  $("queue-text").textContent = state.proposals.length ? `${state.proposals.length} states, best first` : "none looked for yet";
  $("queue").hidden = !state.proposals.length;
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
  const node = app.tree.node(state.chosen);
  if (node) app.view.reveal(node);
  $("queue").children[i]?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

export async function nextProposal(step) {
  const again = !state.proposals.length || (step > 0 && state.proposal === state.proposals.length - 1);
  if (again) {
    const answer = await app.act({ action: "propose" });
    if (!answer.ok) return;
    state.proposals = answer.proposals;
    state.proposal = -1;
    showQueue();
    if (!answer.proposals.length) { toast("nothing stands out yet"); return; }
  }
  const count = state.proposals.length;
  pick((state.proposal + step + count) % count);
}
