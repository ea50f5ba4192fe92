// Dialogs: help, two branches side by side, many continuations.

import { make, openDialog, percent } from "./app.js";
import { SOURCES } from "./palette.js";

export function fillHelp(body, groups) {
  body.replaceChildren(...groups.map(([title, entries]) => {
    const section = make("section");
    const list = make("dl");
    for (const [keys, text] of entries) {
      const term = make("dt");
      keys.split(" ").forEach((key) => term.append(make("kbd", key === "space" ? "space" : key), " "));
      list.append(term, make("dd", text));
    }
    section.append(make("h3", title), list);
    return section;
  }));
}

// Two branches from their fork, with one slider.
export class Compare {
  constructor(dialog, body, tree) { Object.assign(this, { dialog, body, tree }); }

  open(one, two, frames) {
    const fork = this.tree.fork(one, two);
    if (!fork) return "these two branches share no state: they belong to different episodes";
    const lines = [one, two].map((node) => this.tree.line(this.tree.last(node.branch)).filter((at) => at.step >= fork.step));
    const most = Math.max(lines[0].length, lines[1].length) - 1;
    const slider = make("input", "", { type: "range", min: 0, max: most, value: 0, "aria-label": "steps after the fork" });
    const pair = make("div", "", { class: "pair" });
    const sides = lines.map((line) => {
      const side = make("div");
      const image = make("img", "", { alt: "" });
      const text = make("p");
      side.append(make("h3", line[line.length - 1].branch.id), image, text);
      pair.append(side);
      return { line, image, text };
    });
    const chart = make("canvas", "", { width: 900, height: 140, role: "img", "aria-label": "progress and trust of both after the fork" });
    const show = () => {
      for (const { line, image, text } of sides) {
        const node = line[Math.min(Number(slider.value), line.length - 1)];
        image.src = frames + node.id;
        image.alt = `frame of ${node.id}`;
        const label = node.branch.label ? `, ${node.branch.label}` : "";
        text.textContent = `step ${node.step} of ${line[line.length - 1].step}${label} · trust ${percent(node.trust)} · progress ${percent(node.progress)}`;
      }
      drawChart(chart, lines, Number(slider.value), most);
    };
    slider.addEventListener("input", show);
    this.body.replaceChildren(
      make("p", `both continue from ${fork.id}; ← → move through the steps`), pair, slider,
      make("p", "progress: thick lines; trust: thin lines. First branch solid, second dashed.", { class: "quiet" }), chart,
    );
    openDialog(this.dialog);
    slider.focus();
    show();
    return "";
  }
}

function drawChart(canvas, lines, at, most) {
  const pen = canvas.getContext("2d");
  const x = (i) => 6 + (canvas.width - 12) * i / Math.max(1, most), y = (v) => canvas.height - 8 - (canvas.height - 16) * v;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  lines.forEach((line, which) => {
    for (const [key, width] of [["progress", 3], ["trust", 1]]) {
      pen.setLineDash(which ? [8, 5] : []);
      pen.lineWidth = width;
      pen.strokeStyle = SOURCES[which ? 2 : 1].colour;
      pen.beginPath();
      let begun = false;
      line.forEach((node, i) => {
        if (node[key] < 0) return;
        begun ? pen.lineTo(x(i), y(node[key])) : pen.moveTo(x(i), y(node[key]));
        begun = true;
      });
      pen.stroke();
    }
  });
  pen.setLineDash([]); pen.lineWidth = 1; pen.strokeStyle = "#111";
  pen.beginPath(); pen.moveTo(x(at), 0); pen.lineTo(x(at), canvas.height); pen.stroke();
}

// The policy's continuations of one state, side by side.
export class Grid {
  constructor(dialog, body, ask) { Object.assign(this, { dialog, body, ask }); }

  open(node) {
    const choice = make("select", "", { "aria-label": "how many" });
    for (const count of [4, 8, 16]) choice.append(make("option", String(count), count === 8 ? { selected: "" } : {}));
    const again = make("button", "Run again", { type: "button" });
    const status = make("p", "", { role: "status" });
    const cards = make("div", "", { class: "cards" });
    const head = make("p");
    head.append(choice, " continuations ", again);
    let seed = 0;
    const run = async () => {
      again.disabled = true;
      status.textContent = "the policy continues from here …";
      const answer = await this.ask({ action: "continue", node, count: Number(choice.value), seed });
      seed += Number(choice.value);
      again.disabled = false;
      if (!answer.ok) { status.textContent = `✗ ${answer.message}`; cards.replaceChildren(); return; }
      this.show(answer.continuations, status, cards);
    };
    again.addEventListener("click", run);
    this.body.replaceChildren(make("p", `from ${node || "the current state"}; continuations are not stored, and the world's state does not change`, { class: "quiet" }), head, status, cards);
    if (!this.dialog.open) openDialog(this.dialog);
    return run();
  }

  show(all, status, cards) {
    const judged = all.every((one) => one.success !== null);
    const likely = all.filter((one) => one.success >= 0.5).length;
    const verdict = likely === 0 ? "the policy does not recover from here: correct it" : likely === all.length ? "recoverable: the policy recovers by itself" : "sometimes: a correction here teaches most";
    status.textContent = !judged ? "this world model does not predict success: judge for yourself" : `${likely} of ${all.length} reach the goal according to the world model – ${verdict}`;
    const sorted = [...all].sort((a, b) => (b.success ?? -1) - (a.success ?? -1) || (b.progress ?? -1) - (a.progress ?? -1));
    cards.replaceChildren(...sorted.map((one) => {
      const good = one.success >= 0.5;
      const card = make("div", "", { class: `card ${!judged ? "" : good ? "likely" : "unlikely"}`, tabindex: 0 });
      const image = make("img", "", { alt: `end of the continuation with seed ${one.seed}` });
      image.src = one.frames[one.frames.length - 1] ?? "";
      let at = one.frames.length - 1;
      const play = () => { at = (at + 1) % one.frames.length; image.src = one.frames[at]; };
      let timer = 0;
      const start = () => { if (one.frames.length > 1 && !timer) timer = setInterval(play, 250); };
      const stop = () => { clearInterval(timer); timer = 0; at = one.frames.length - 1; image.src = one.frames[at] ?? ""; };
      card.addEventListener("pointerenter", start); card.addEventListener("focus", start);
      card.addEventListener("pointerleave", stop); card.addEventListener("blur", stop);
      card.append(image, make("strong", judged ? `${good ? "✓" : "✗"} ${percent(one.success)}` : ""), make("p", `progress ${percent(one.progress)}, trust ${percent(one.trust)}`), make("p", `${one.steps} steps, seed ${one.seed}`, { class: "quiet" }));
      return card;
    }));
  }
}
