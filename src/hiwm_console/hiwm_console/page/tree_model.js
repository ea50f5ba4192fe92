// The session's tree, from the columns the server sends.

export const PINNED = 1, ROLLED_BACK = 2, TAKEOVER = 4, HAS_STATE = 8;

export class Tree {
  constructor() { this.clear(); }

  clear() {
    this.revision = 0;
    this.head = "";
    this.branches = new Map(); // id -> {id, episode, from, kind, label, note, discarded, first, nodes}
    this.count = 0;
    this.rows = [];
    this.longest = 1;
  }

  // Applies a page of changes, by the rule of BranchTree.msg. Returns whether changes are missing:
  // then the page after this.revision is needed.
  apply(message) {
    if (message.revision <= this.revision) return this.revision < message.latest;
    if (message.since > this.revision) {
      this.show(message);
      return true;
    }
    this.merge(message, false);
    this.revision = message.revision;
    this.arrange();
    return this.revision < message.latest;
  }

  // Shows what is new in a message ahead of the pages that lead to it: a large tree needs many. What
  // is known stays, since the message may be older; the pages bring every change.
  show(message) {
    this.merge(message, true);
    this.arrange();
  }

  merge(message, onlyNew) {
    for (const entry of message.branches) {
      if (!onlyNew || !this.branch(entry.id).kind) Object.assign(this.branch(entry.id), entry);
    }
    for (const run of message.runs) {
      const branch = this.branch(run.branch);
      if (branch.first < 0) branch.first = run.step;
      if (run.step < branch.first) {
        branch.nodes.unshift(...new Array(branch.first - run.step));
        branch.first = run.step;
      }
      for (let i = 0; i < run.source.length; i++) {
        const place = run.step + i - branch.first;
        if (onlyNew && branch.nodes[place]) continue;
        if (!branch.nodes[place]) this.count++;
        branch.nodes[place] = {
          id: `${run.branch}:${run.step + i}`, branch, step: run.step + i,
          source: Number(run.source[i]), flags: parseInt(run.flags[i], 16),
          trust: run.trust[i] / 100, progress: run.progress[i] / 100, success: run.success[i] / 100,
        };
      }
    }
    this.head = message.head;
  }

  // The branch of an id; its nodes may arrive in an earlier page than it does.
  branch(id) {
    if (!this.branches.has(id)) {
      this.branches.set(id, {
        id, episode: "", from: "", kind: "", label: "", note: "", discarded: false, first: -1, nodes: [],
      });
    }
    return this.branches.get(id);
  }

  // Rows: each branch beneath the one it forks from, the latest fork closest.
  arrange() {
    const below = new Map();
    for (const branch of this.branches.values()) {
      const parent = branch.from ? branch.from.slice(0, branch.from.lastIndexOf(":")) : "";
      const key = parent === branch.id ? "" : parent;
      if (!below.has(key)) below.set(key, []);
      below.get(key).push(branch);
    }
    this.rows = [];
    const waiting = [...(below.get("") ?? [])].reverse();
    while (waiting.length) {
      const branch = waiting.pop();
      branch.row = this.rows.length;
      this.rows.push(branch);
      const children = [...(below.get(branch.id) ?? [])].sort((a, b) => stepOf(a.from) - stepOf(b.from));
      waiting.push(...children);
    }
    this.longest = 1;
    for (const branch of this.rows) this.longest = Math.max(this.longest, branch.first + branch.nodes.length);
  }

  node(id) {
    const colon = id.lastIndexOf(":");
    const branch = this.branches.get(id.slice(0, colon));
    if (!branch) return null;
    return branch.nodes[Number(id.slice(colon + 1)) - branch.first] ?? null;
  }

  parent(node) {
    return node.branch.nodes[node.step - 1 - node.branch.first] ?? (node.branch.from ? this.node(node.branch.from) : null);
  }

  // All nodes from the root to a node, across branches.
  line(node) {
    const line = [];
    for (let at = node; at; at = this.parent(at)) line.push(at);
    return line.reverse();
  }

  last(branch) { return branch.nodes[branch.nodes.length - 1] ?? (branch.from ? this.node(branch.from) : null); }

  // The fork of two branches: the last node that both lines share.
  fork(one, two) {
    const known = new Set(this.line(one).map((node) => node.id));
    const shared = this.line(two).filter((node) => known.has(node.id));
    return shared[shared.length - 1] ?? null;
  }
}

export function stepOf(id) { return id ? Number(id.slice(id.lastIndexOf(":") + 1)) : -1; }
