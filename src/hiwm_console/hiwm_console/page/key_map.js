// Which keys move what, from the embodiment's groups of action entries. Keys, hints, help and touch
// pads all read this one map; see test_key_map.py.
//
// A control is one direction of motion: `entry` is its place among the axes, `minus` and `plus` are
// the keys that move it, with "S+" for Shift. An arm beyond the second has pads only. An arm with a
// tip is driven along the axes of a frame, or joint by joint if it has joints.

const SLOTS = [
  { x: "a d", y: "s w", z: "S+s S+w", yaw: "S+d S+a", pitch: "S+f S+r", roll: "S+z S+c", last: "S+g S+t", gripper: "S+q S+e" },
  { x: "j l", y: "k i", z: "S+k S+i", yaw: "S+l S+j", pitch: "S+h S+y", roll: "S+n S+m", last: "S+b S+p", gripper: "S+u S+o" },
];
const IN_ORDER = ["x", "y", "z", "yaw", "pitch", "roll", "last"];
const WAYS = {
  x: ["left", "right"], y: ["nearer", "farther"], z: ["down", "up"], yaw: ["turn right", "turn left"],
  pitch: ["pitch −", "pitch +"], roll: ["roll −", "roll +"], gripper: ["shut", "open"],
};

export const JOINTS = "joints"; // the frame of an arm that is driven joint by joint
const TIP_AXES = ["x", "y", "z", "roll", "pitch", "yaw"];

// The frames that arms can be driven in, the most natural first.
export const framesOf = ({ frames, groups }) => [
  ...frames, ...(groups.some((group) => group.kind === "joint_position" && group.tip !== null) ? [JOINTS] : []),
];

// Motions of a group: [kind, axis].
function motionsOf(group, actions, frame) {
  const at = (offset) => group.start + offset;
  if (group.kind === "gripper") return Array.from({ length: group.size }, (_, i) => ["gripper", at(i)]);
  if (group.tip !== null && (frame !== JOINTS || group.kind === "ee_position")) return group.tip_axes.map((axis) => [axis, group.tip + TIP_AXES.indexOf(axis)]);
  // Sliding joints that span a plane move like an end effector.
  const slides = actions[at(0)].unit === "m" && group.size > 1 && actions[at(1)].unit === "m";
  return Array.from({ length: group.size }, (_, i) => [slides && i < 3 ? IN_ORDER[i] : "joint", at(i)]);
}

// The arms, in the order of their first group: {name, plane: [x, y] or null, controls}.
export function armsOf({ groups, actions }, frame = "") {
  // Left, right, nearer and farther are those of a picture, or of a plane that is seen from above.
  const plain = frame === "base" || frame === "tool";
  const names = [...new Set(groups.map((group) => group.arm))];
  return names.map((name, number) => {
    const slots = SLOTS[number] ?? {};
    const motions = groups.filter((group) => group.arm === name).flatMap((group) => motionsOf(group, actions, frame));
    const free = IN_ORDER.filter((slot) => !motions.some(([kind]) => kind === slot));
    const controls = motions.map(([kind, entry]) => {
      const slot = kind === "joint" ? free.shift() : kind;
      const [minus = "", plus = ""] = (slots[slot] ?? "").split(" ");
      const title = kind === "joint" ? shortName(actions[entry].name, name) : kind;
      const ways = plain && "xyz".includes(kind) ? [`${kind} −`, `${kind} +`] : WAYS[kind] ?? ["−", "+"];
      return { kind, entry, minus, plus, title, name: actions[entry]?.name ?? `${name} ${kind}`, ways };
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
