// The pictures of an episode's cameras, side by side, as large as the labelling page allows.

import { $, make } from "./app.js";
import { arrange } from "./arrange.js";

const TWO_COLUMNS = 900; // px from which the list is beside the pictures
const LIST_LEAST = 440, PICTURES_LEAST = 320; // px
const PHONE_SHARE = 0.6; // of the height of a narrow page for the pictures

export class Screen {
  constructor() {
    this.canvases = [];
    addEventListener("resize", () => this.fit());
  }

  setCameras(names) {
    if (this.canvases.length === names.length && this.canvases.every((canvas, n) => canvas.dataset.camera === names[n])) return;
    this.canvases = names.map((name) => {
      const canvas = make("canvas", "", { role: "img", "aria-label": name ? `camera ${name}` : "frame" });
      canvas.dataset.camera = name;
      return canvas;
    });
    $("pictures").replaceChildren(...this.canvases.map((canvas) => {
      const figure = make("figure");
      figure.append(canvas);
      if (names.length > 1) figure.append(make("figcaption", canvas.dataset.camera.replaceAll("_", " ")));
      return figure;
    }));
    this.fit();
  }

  show(bitmaps, index) {
    let sized = false;
    this.canvases.forEach((canvas, n) => {
      const bitmap = bitmaps[n];
      if (!bitmap) { canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height); delete canvas.dataset.index; return; }
      if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
        Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
        sized = true;
      }
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      canvas.dataset.index = String(index);
    });
    if (sized) this.fit();
  }

  // The pictures' column is as wide as they can be high; the list has the rest.
  fit() {
    const main = document.querySelector("main"), screen = $("screen");
    const room = main.clientWidth - 20, wide = innerWidth > TWO_COLUMNS;
    const aspects = this.canvases.map((canvas) => canvas.width / canvas.height);
    const width = wide ? Math.max(PICTURES_LEAST, room - LIST_LEAST) : room;
    const found = arrange(aspects, width, wide ? screen.clientHeight : PHONE_SHARE * innerHeight);
    main.style.gridTemplateColumns = wide ? `${Math.max(PICTURES_LEAST, Math.ceil(found.width))}px minmax(0, 1fr)` : "";
    screen.style.height = wide ? "" : `${found.height}px`;
    Object.assign($("pictures").style, { width: `${found.width}px`, height: `${found.height}px` });
    this.canvases.forEach((canvas, n) => {
      const { x, y, w, h } = found.boxes[n];
      Object.assign(canvas.parentElement.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px` });
      canvas.classList.toggle("pixels", w > 1.5 * canvas.width);
    });
  }
}
