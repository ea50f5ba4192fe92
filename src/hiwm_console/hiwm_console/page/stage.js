// The live pictures, as large as the page allows, and what lies over them: the mode when nothing
// moves, and a half-transparent picture of another state.

import { $, app, make, mark, setSource, state } from "./app.js";
import { arrange } from "./arrange.js";
import { STALE_MS } from "./stale.js";

const SIDE_LEAST = 540; // px for the column beside the pictures
const STAGE_LEAST = 512; // px for the pictures' column: its buttons need as much
const TWO_COLUMNS = 900; // px from which there are two
const GAP = 8; // px between the parts of a column
const PHONE_SHARE = 0.44; // of the height of a narrow page for the pictures

export class Stage {
  constructor(measured) {
    this.canvases = [];
    this.onMeasured = measured;
    this.placed = ""; // what decided where the arms' cards are
    this.fit = this.fit.bind(this);
    addEventListener("resize", this.fit);
    new ResizeObserver(this.fit).observe($("stage"));
    $("large-still").addEventListener("load", this.fit);
    $("guide").addEventListener("load", this.fit);
  }

  setCameras(list) {
    const same = this.canvases.length === list.length
      && list.every((camera, n) => this.canvases[n].dataset.camera === camera.name);
    if (same) return;
    for (const figure of document.querySelectorAll("#cameras figure")) figure.remove();
    this.canvases = list.map((camera, number) => {
      const canvas = make("canvas", "", { width: camera.width, height: camera.height, role: "img", "aria-label": `camera ${camera.name}`, id: `camera-${number}` });
      canvas.dataset.camera = camera.name;
      if (camera.view) canvas.dataset.drawn = "0"; // page clock, ms
      const figure = make("figure");
      figure.append(canvas);
      if (list.length > 1) figure.append(make("figcaption", camera.name.replaceAll("_", " ")));
      $("cameras").append(figure);
      return canvas;
    });
    this.fit();
  }

  // The frames' elements and aspects: the cameras', or the still of a stored session.
  pictures() {
    const still = $("large-still");
    if (state.stored) return [[still, still.naturalWidth / still.naturalHeight || 1, still.naturalWidth]];
    return this.canvases.map((canvas) => [canvas.parentElement, canvas.width / canvas.height, canvas.width]);
  }

  fit() {
    const main = document.querySelector("main");
    const wide = innerWidth > TWO_COLUMNS;
    const pictures = this.pictures();
    const aspects = pictures.length ? pictures.map(([, aspect]) => aspect) : [4 / 3];
    const style = getComputedStyle(main);
    const room = main.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const frame = 8; // the coloured frame, on both sides
    let width = room, height = innerHeight * PHONE_SHARE;
    if (wide) {
      width = Math.max(STAGE_LEAST, room - SIDE_LEAST);
      height = this.roomAbove();
    }
    const found = arrange(aspects, width - frame, Math.max(120, height - frame));
    main.style.gridTemplateColumns = wide ? `${Math.max(STAGE_LEAST, Math.ceil(found.width + frame))}px minmax(0, 1fr)` : "";
    const left = wide && !state.stored ? height - found.height - frame - GAP : 0;
    this.placeArms(left, JSON.stringify([wide, innerWidth, Math.round(height / 20), aspects, app.hands?.size]));
    Object.assign($("cameras").style, { width: `${found.width}px`, height: `${found.height}px` });
    pictures.forEach(([element, , pixels], n) => {
      const { x, y, w, h } = found.boxes[n];
      Object.assign(element.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px` });
      element.classList.toggle("pixels", w > 1.5 * pixels);
    });
    this.placeGuide(found.boxes[0]);
  }

  // Height for pictures in the left column, with nothing but the task and the buttons beside them.
  roomAbove() {
    const others = ["task", "controls"].map((id) => $(id)).filter((one) => one.offsetHeight);
    return $("live").clientHeight - others.reduce((sum, one) => sum + one.offsetHeight + GAP, 0);
  }

  // Wide pictures leave room below them: the arms' cards fill it, instead of nothing. Decided once
  // for each size of the page, so that the cards do not jump.
  placeArms(left, key) {
    if (this.placed === key) return;
    this.placed = key;
    const arms = $("arms");
    if (left > 0.5 * arms.offsetHeight) $("controls").before(arms);
    if (arms.parentElement === $("live") && arms.offsetHeight > left) $("side").prepend(arms);
  }

  placeGuide(box) {
    if (!box) return;
    Object.assign($("guide").style, { left: `${box.x}px`, top: `${box.y}px`, width: `${box.w}px`, height: `${box.h}px` });
    // Its text is on the same picture, opposite to the camera's name.
    Object.assign($("guide-text").style, { left: `${box.x}px`, top: `${box.y}px`, maxWidth: `${box.w}px` });
  }

  frame(seen, bitmap) {
    const canvas = this.canvases[seen.camera];
    if (!canvas) return;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      this.fit();
    }
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    if (canvas.dataset.drawn) { canvas.dataset.drawn = String(performance.now()); this.showStale(); }
    mark.first ||= performance.now();
    canvas.dataset.place = `${seen.epoch}:${seen.step}`;
    canvas.dataset.frames = String(Number(canvas.dataset.frames ?? 0) + 1);
    if (seen.t >= 0 && seen.camera === 0) this.measure(seen.t);
  }

  // Views without a new picture are grey, and say so.
  showStale() {
    for (const { dataset, parentElement: figure } of this.canvases) {
      if (!dataset.drawn) continue;
      const stale = performance.now() - Number(dataset.drawn) > STALE_MS;
      figure.classList.toggle("stale", stale);
      figure.querySelector("figcaption").textContent = dataset.camera.replaceAll("_", " ") + (stale ? ": no picture" : "");
    }
  }

  // The frame shows input that the page sent at a time: how long did that take?
  measure(t) {
    const now = performance.now();
    if (mark.took !== null && t >= mark.took) { mark.takeovers.push(now - mark.took); mark.took = null; this.onMeasured(); }
    if (mark.pressed !== null && t >= mark.pressed) {
      mark.latencies.push(now - mark.pressed);
      if (mark.latencies.length > 200) mark.latencies.shift();
      mark.pressed = null;
      this.onMeasured();
    }
  }

  // Shows a state's picture over the live one, half transparent; `text` says what it is.
  overlay(node, text) {
    setSource($("guide"), state.frames + node.id);
    $("guide").alt = text;
    $("guide").hidden = false;
    $("guide-text").textContent = text;
    $("guide-text").hidden = false;
    this.fit();
    app.showEnabled();
  }

  clear() {
    $("guide").hidden = $("guide-text").hidden = true;
    app.showEnabled();
  }

  get overlaid() { return !$("guide").hidden; }
}

// The picture to compare the scene with: the chosen state; or the end of the best success, which
// shows the goal; or the start of this episode, where nothing lies on the goal yet.
export function reference() {
  const { tree } = app;
  const chosen = tree.node(state.chosen);
  if (chosen && !state.following) return [chosen, `step ${chosen.step} of ${chosen.branch.id}`];
  const [done] = [...tree.branches.values()].filter((branch) => branch.label === "success" && branch.nodes.length)
    .sort((one, two) => tree.last(two).progress - tree.last(one).progress);
  if (done) return [tree.last(done), `the end of ${done.id}, a success`];
  const present = app.view.present();
  const start = present && tree.line(present)[0];
  return start ? [start, "the start of this episode"] : null;
}
