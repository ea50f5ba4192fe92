// What the modules of the console's page share: its state, and the few things that all of them use.

export const $ = (id) => document.getElementById(id);

export const make = (tag, text = "", attributes = {}) => {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

export const percent = (value) => (value === null || value === undefined || value < 0 ? "?" : `${Math.round(100 * value)} %`);

export const state = {
  id: 0, access: { drive: false, reason: "" }, stored: false, frames: "", description: {},
  world: null, control: null, seats: null, tick: null, health: null, connected: false,
  demonstrations: false, missing: null, chosen: "", following: true, proposals: [], proposal: -1,
  rolledBackTo: "", undo: "", digits: "",
};

// Page clock, ms: a key press or takeover that waits for its frame, and the latencies so far.
export const mark = { pressed: null, took: null, first: 0, latencies: [], takeovers: [] };

// Set by main.js: tree, link, hands, view, stage, compare, grid.
export const app = {};

export function toast(text, kind = "") {
  if (!text) return;
  const last = $("toasts").lastElementChild;
  if (last && last.textContent === text) last.remove();
  const line = make("p", text, { class: kind });
  $("toasts").append(line);
  while ($("toasts").children.length > 3) $("toasts").firstElementChild.remove();
  setTimeout(() => line.remove(), kind === "bad" ? 9000 : 5000);
}

// Opens a dialog below the header: STOP stays in view and in reach, so it is not a modal one.
export function openDialog(dialog) {
  closeDialogs();
  dialog.show();
  dialog.scrollTop = 0;
}

export function closeDialogs() { for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close(); }

// A state without a picture leaves its place empty: no browser's icon of a broken one.
export function setSource(image, address) {
  if (image.getAttribute("src") === address) return;
  image.onload = () => { image.style.visibility = ""; };
  image.onerror = () => { image.style.visibility = "hidden"; };
  image.src = address;
}

export const mine = () => state.seats !== null && state.seats.driver === state.id;
export const personName = (id) => (id === state.id ? "you" : state.seats?.people[id] ?? "nobody");
