// Which keys move what, from the embodiment's groups of action entries. Keys, hints, help and touch
// pads all read this one map; see test_key_map.py.
//
// A control is one direction of motion: `entry` is its place among the axes, `minus` and `plus` are
// the keys that move it, with "S+" for Shift. An arm beyond the second has pads only.

const SLOTS = [
  { x: "a d", y: "s w", z: "S+s S+w", yaw: "S+d S+a", pitch: "S+f S+r", roll: "S+z S+c", last: "S+g S+t", gripper: "S+q S+e" },
  { x: "j l", y: "k i", z: "S+k S+i", yaw: "S+l S+j", pitch: "S+h S+y", roll: "S+n S+m", last: "S+b S+p", gripper: "S+u S+o" },
];
const IN_ORDER = ["x", "y", "z", "yaw", "pitch", "roll", "last"];
const WAYS = {
  x: ["left", "right"], y: ["nearer", "farther"], z: ["down", "up"], yaw: ["turn right", "turn left"],
  pitch: ["pitch −", "pitch +"], roll: ["roll −", "roll +"], gripper: ["shut", "open"],
};

// Motions of a group: [kind, entry], in the order of the entries.
function motionsOf(group, actions) {
  const at = (offset) => group.start + offset;
  if (group.kind === "gripper") return Array.from({ length: group.size }, (_, i) => ["gripper", at(i)]);
  if (group.kind === "ee_position") {
    const motions = [["x", at(0)], ["y", at(1)], ["z", at(2)]];
    if (group.rotation === "yaw") motions.push(["yaw", at(3)]);
    // A rotation moves by a rotation vector, in the first three of its entries.
    if (group.rotation === "6d") motions.push(["roll", at(3)], ["pitch", at(4)], ["yaw", at(5)]);
    return motions;
  }
  // Sliding joints that span a plane move like an end effector.
  const slides = actions[at(0)].unit === "m" && group.size > 1 && actions[at(1)].unit === "m";
  return Array.from({ length: group.size }, (_, i) => [slides && i < 3 ? IN_ORDER[i] : "joint", at(i)]);
}

// The arms, in the order of their first group: {name, plane: [x, y] or null, controls}.
export function armsOf({ groups, actions }) {
  const names = [...new Set(groups.map((group) => group.arm))];
  return names.map((name, number) => {
    const slots = SLOTS[number] ?? {};
    const motions = groups.filter((group) => group.arm === name).flatMap((group) => motionsOf(group, actions));
    const free = IN_ORDER.filter((slot) => !motions.some(([kind]) => kind === slot));
    const controls = motions.map(([kind, entry]) => {
      const slot = kind === "joint" ? free.shift() : kind;
      const [minus = "", plus = ""] = (slots[slot] ?? "").split(" ");
      const title = kind === "joint" ? shortName(actions[entry].name, name) : kind;
      return { kind, entry, minus, plus, title, name: actions[entry].name, ways: WAYS[kind] ?? ["−", "+"] };
    });
    const place = (kind) => controls.find((one) => one.kind === kind)?.entry;
    const plane = place("x") !== undefined && place("y") !== undefined ? [place("x"), place("y")] : null;
    return { name, plane, controls };
  });
}

// A joint's name without its arm's, which the card shows already.
function shortName(entry, arm) {
  return entry.replace(new RegExp(`^${arm}[_-]?`), "").replace(/_joint$/, "").replaceAll("_", " ") || entry;
}

// Key to [entry, sign]; a key with Shift starts with "S+".
export function movesOf(arms) {
  const moves = new Map();
  for (const { controls } of arms) {
    for (const { entry, minus, plus } of controls) {
      if (minus) moves.set(minus, [entry, -1]);
      if (plus) moves.set(plus, [entry, 1]);
    }
  }
  return moves;
}

export const armTitle = (name) => (["", "arm"].includes(name) ? "Arm" : `${name.charAt(0).toUpperCase()}${name.slice(1)} arm`);

// How a key is written for a person.
export const keyText = (key) => key.replace("S+", "⇧").toUpperCase();
