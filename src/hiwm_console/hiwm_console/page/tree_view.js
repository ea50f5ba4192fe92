// The tree on a time line, drawn on a canvas of the size of the visible part.
// A step's source shows twice: in the colour, and in the height and pattern of its bar.

import { SOURCES as PALETTE } from "./palette.js";
import { PINNED, ROLLED_BACK, TAKEOVER } from "./tree_model.js";

const ROW = 52, BAR = 40, THUMB = 32, LEFT = 84, RIGHT = 46, MOST_THUMBS = 400;
// By Command.SOURCE_* number, as the palette.
const BARS = [{ height: 2 }, { height: 5 }, { height: 10 }, { height: 10 }, { height: 5, hatched: true }];
export const SOURCES = PALETTE.map((source, number) => ({ ...source, ...BARS[number] }));

export class TreeView {
  // on: {choose(node), go(node), compare(node)}
  constructor(scroll, canvas, space, tree, on) {
    Object.assign(this, { scroll, canvas, space, tree, on });
    this.chosen = null;
    this.marks = new Map(); // node id -> rank in the queue
    this.head = "";
    this.frames = "";
    this.thumbs = new Map();
    this.due = false;
    this.painted = 0; // when the whole tree was first drawn, ms after the page was requested
    scroll.addEventListener("scroll", () => this.draw());
    canvas.addEventListener("click", (event) => {
      const node = this.at(event);
      if (node) (event.shiftKey ? on.compare : on.choose)(node);
    });
    canvas.addEventListener("dblclick", (event) => { const node = this.at(event); if (node) on.go(node); });
    scroll.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(scroll);
  }

  // The world's current state. A branch that has just started has no state yet: its fork counts.
  present() { return this.tree.node(this.head) ?? this.tree.node(this.tree.head); }

  // The whole session fits the width as long as a step has at least a quarter of a pixel.
  scale() { return Math.max(0.25, (this.scroll.clientWidth - LEFT - RIGHT) / this.tree.longest); }
  x(step) { return LEFT + (step + 0.5) * this.scale() - this.scroll.scrollLeft; }
  y(row) { return row * ROW + BAR - this.scroll.scrollTop; }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top + this.scroll.scrollTop) / ROW);
    const branch = this.tree.rows[row];
    if (!branch || !branch.nodes.length) return null;
    const step = Math.round((event.clientX - box.left + this.scroll.scrollLeft - LEFT) / this.scale() - 0.5);
    const place = Math.max(0, Math.min(branch.nodes.length - 1, step - branch.first));
    return branch.nodes[place] ?? null;
  }

  key(event) {
    const node = this.chosen ? this.tree.node(this.chosen) : this.present();
    if (!node) return;
    const far = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowLeft: () => this.back(node, far), ArrowRight: () => this.forth(node, far),
      ArrowUp: () => this.beside(node, -1), ArrowDown: () => this.beside(node, 1),
      Home: () => this.tree.line(node)[0], End: () => this.tree.last(node.branch),
    };
    if (!(event.key in moves) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const next = moves[event.key]();
    if (next) { this.on.choose(next); this.reveal(next); }
  }

  back(node, steps) {
    for (let i = 0; i < steps; i++) node = this.tree.parent(node) ?? node;
    return node;
  }

  forth(node, steps) {
    const nodes = node.branch.nodes;
    return nodes[Math.min(nodes.length - 1, node.step - node.branch.first + steps)];
  }

  beside(node, rows) {
    for (let row = node.branch.row + rows; this.tree.rows[row]; row += rows) {
      const branch = this.tree.rows[row];
      if (branch.nodes.length) return branch.nodes[Math.max(0, Math.min(branch.nodes.length - 1, node.step - branch.first))];
    }
    return null;
  }

  reveal(node) {
    const top = node.branch.row * ROW;
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    else if (top + ROW > this.scroll.scrollTop + this.scroll.clientHeight) this.scroll.scrollTop = top + ROW - this.scroll.clientHeight;
    const x = LEFT + node.step * this.scale();
    if (x < this.scroll.scrollLeft + LEFT || x > this.scroll.scrollLeft + this.scroll.clientWidth - RIGHT) {
      this.scroll.scrollLeft = x - this.scroll.clientWidth / 2;
    }
    this.draw();
  }

  draw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; this.paint(); });
  }

  thumb(id) {
    let image = this.thumbs.get(id);
    if (!image) {
      image = new Image();
      image.onload = () => this.draw();
      image.src = this.frames + id;
      this.thumbs.set(id, image);
      if (this.thumbs.size > MOST_THUMBS) this.thumbs.delete(this.thumbs.keys().next().value);
    }
    return image;
  }

  paint() {
    const { canvas, scroll, tree } = this;
    const ratio = devicePixelRatio || 1;
    const width = scroll.clientWidth, height = scroll.clientHeight;
    this.space.style.width = `${LEFT + RIGHT + tree.longest * this.scale()}px`;
    this.space.style.height = `${Math.max(0, tree.rows.length * ROW + 8 - height)}px`;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    pen.textBaseline = "middle";
    const first = Math.max(0, Math.floor(scroll.scrollTop / ROW) - 1);
    const last = Math.min(tree.rows.length - 1, Math.ceil((scroll.scrollTop + height) / ROW));
    for (const branch of tree.rows) this.join(pen, branch, first, last);
    for (let row = first; row <= last; row++) this.row(pen, tree.rows[row], width);
    const present = this.present();
    present && this.place(pen, present.id, (x, y) => {
      pen.fillStyle = "#fff"; pen.strokeStyle = "#111"; pen.lineWidth = 2;
      pen.beginPath(); pen.arc(x, y, 6, 0, 7); pen.fill(); pen.stroke();
      pen.fillStyle = "#111"; pen.fillText("now", x + 9, y - 9);
    });
    this.chosen && this.place(pen, this.chosen, (x, y) => {
      pen.strokeStyle = "#111"; pen.lineWidth = 2;
      pen.strokeRect(x - 5, y - 12, 10, 24);
    });
    if (tree.count && !this.painted) this.painted = performance.now();
    for (const [id, rank] of this.marks) this.place(pen, id, (x, y) => {
      pen.fillStyle = "#111"; pen.beginPath(); pen.moveTo(x, y + 7); pen.lineTo(x - 4, y + 12); pen.lineTo(x + 4, y + 12); pen.fill();
      pen.fillText(String(rank), x + 6, y + 11);
    });
  }

  place(pen, id, paint) {
    const node = this.tree.node(id);
    if (node) paint(this.x(node.step), this.y(node.branch.row));
  }

  join(pen, branch, first, last) {
    const from = branch.from ? this.tree.node(branch.from) : null;
    if (!from || from.branch.row > last || branch.row < first) return;
    const x = this.x(from.step), y = this.y(branch.row);
    pen.strokeStyle = branch.kind === "rollback" ? "#555" : "#aaa";
    pen.setLineDash(branch.kind === "rollback" ? [3, 2] : []);
    pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(x, this.y(from.branch.row)); pen.lineTo(x, y); pen.lineTo(this.x(branch.first), y); pen.stroke();
    pen.setLineDash([]);
  }

  row(pen, branch, width) {
    const y = this.y(branch.row), scale = this.scale(), nodes = branch.nodes;
    const faded = branch.discarded ? 0.35 : 1;
    pen.globalAlpha = faded;
    if (!branch.from) {
      pen.strokeStyle = "#e2e2de"; pen.lineWidth = 1;
      pen.beginPath(); pen.moveTo(0, y - BAR + 0.5); pen.lineTo(width, y - BAR + 0.5); pen.stroke();
    }
    for (let i = 0; i < nodes.length;) {
      let end = i + 1;
      while (end < nodes.length && nodes[end]?.source === nodes[i]?.source && (nodes[end]?.flags & ROLLED_BACK) === (nodes[i]?.flags & ROLLED_BACK)) end++;
      if (nodes[i]) this.bar(pen, nodes[i], this.x(branch.first + i) - scale / 2, y, (end - i) * scale, faded);
      i = end;
    }
    for (const node of nodes) {
      if (node && node.flags & (TAKEOVER | PINNED)) {
        pen.fillStyle = "#111"; pen.textAlign = "center";
        pen.fillText(node.flags & TAKEOVER ? "▲" : "◆", this.x(node.step), y - 8);
        pen.textAlign = "left";
      }
    }
    this.pictures(pen, branch, y, width);
    const x = this.x(branch.first + nodes.length) + 2;
    pen.fillStyle = "#1d1d1b";
    pen.fillText(({ success: "✓", failure: "✗" }[branch.label] ?? branch.label) + (branch.discarded ? " discarded" : ""), x, y);
    pen.globalAlpha = faded;
    pen.fillStyle = "rgba(255,255,255,.9)"; pen.fillRect(0, y - 9, LEFT - 6, 18);
    pen.fillStyle = "#1d1d1b"; pen.font = branch.from ? pen.font : "bold " + pen.font;
    pen.fillText(branch.from ? "  " + branch.id.slice(branch.episode.length + 1) : branch.episode, 6, y);
    pen.font = pen.font.replace("bold ", "");
    pen.globalAlpha = 1;
  }

  bar(pen, node, x, y, width, faded) {
    const source = SOURCES[node.source] ?? SOURCES[0];
    pen.globalAlpha = node.flags & ROLLED_BACK ? 0.4 * faded : faded;
    pen.fillStyle = source.colour;
    pen.fillRect(x, y - source.height / 2, Math.max(1, width), source.height);
    if (source.hatched) {
      pen.fillStyle = "#fff";
      for (let at = x + 2; at < x + width; at += 5) pen.fillRect(at, y - source.height / 2, 2, source.height);
    }
    pen.globalAlpha = faded;
  }

  pictures(pen, branch, y, width) {
    // One picture every `every` steps, a power of two, so that it keeps its place as its branch grows.
    let every = 1;
    while (every * this.scale() < THUMB) every *= 2;
    for (let step = Math.ceil(branch.first / every) * every; step < branch.first + branch.nodes.length; step += every) {
      const node = branch.nodes[step - branch.first];
      const x = this.x(step);
      if (!node || x < LEFT - THUMB) continue;
      if (x > width) break;
      const image = this.thumb(node.id);
      if (image.complete && image.naturalWidth) pen.drawImage(image, x, y - BAR + 3, THUMB - 4, THUMB - 4);
    }
  }
}
