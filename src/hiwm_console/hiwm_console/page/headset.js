// A headset's controllers as the operator's input. Each controller's pose goes to the console with
// every picture of the headset; the console clutches it to an arm. This file decides who is in
// control: a grip takes over, and whatever makes the controllers unreliable releases it.

import { framesOf, JOINTS } from "./key_map.js";

const SEND_MS = 10; // at most 100 messages a second: the console accepts 200 of all kinds
// Without a held grip, control is released after this long.
export const IDLE_MS = 5000;
const SPEEDS = [1, 0.5, 0.25];
// Places of the buttons in the mapping "xr-standard".
const TRIGGER = 0, GRIP = 1, STICK = 3, LOWER = 4, UPPER = 5;
const BACK_STEPS = 10;
// Axes of the stick, and how far it goes to count as pushed, and as back in the middle.
const ACROSS = 2, ALONG = 3, PUSHED = 0.8, MIDDLE = 0.4;

export class Headset {
  // link; on: {changed(), mayDrive()}; mayDrive() returns why this page may not drive, or nothing.
  constructor(link, on) {
    this.link = link;
    this.on = on;
    this.session = null;
    this.space = null;
    this.engaged = false;
    this.why = ""; // why control was lost
    this.world = null;
    this.frames = [];
    this.frame = "";
    this.speed = SPEEDS[0];
    this.hands = [];
    this.down = new Map(); // handedness -> buttons that were down
    this.pushed = new Set(); // handednesses whose stick is pushed
    this.movers = new Map(); // arm -> handedness of the controller whose grip moves it
    this.gripped = 0;
    this.sentAt = 0;
    this.acts = 0;
    addEventListener("pagehide", () => this.letGo("the page was left"));
  }

  setWorld(world) {
    this.world = world;
    this.arms = [...new Set(world.groups.map((group) => group.arm))];
    this.movable = world.groups.some((group) => group.tip !== null);
    this.frames = framesOf(world).filter((frame) => frame !== JOINTS && frame !== "tool");
    if (!this.frames.includes(this.frame)) this.frame = this.frames[0] ?? "base";
    this.on.changed();
  }

  nextFrame() {
    this.frame = this.frames[(this.frames.indexOf(this.frame) + 1) % this.frames.length];
    this.on.changed();
  }

  nextSpeed() {
    this.speed = SPEEDS[(SPEEDS.indexOf(this.speed) + 1) % SPEEDS.length];
    this.on.changed();
  }

  begin(session, space) {
    Object.assign(this, { session, space, why: "" });
    this.down.clear();
    this.movers.clear();
    session.addEventListener("visibilitychange", () => {
      if (session.visibilityState !== "visible") this.letGo("the headset was taken off, or shows its menu");
    });
    session.addEventListener("end", () => {
      this.letGo("the headset's session ended");
      this.session = this.space = null;
      this.on.changed();
    });
    this.on.changed();
  }

  // The arm of a controller; -1 if it has none. A single arm takes either hand.
  armOf(handedness) {
    if (this.arms.length === 1) return 0;
    const named = this.arms.findIndex((arm) => arm.toLowerCase().includes(handedness));
    return named >= 0 ? named : ["left", "right"].indexOf(handedness);
  }

  // One picture of the headset.
  look(frame, now) {
    if (!this.session || !this.world) return;
    const hands = new Map(), pressed = [], gone = new Map(this.movers);
    for (const source of this.session.inputSources) {
      if (!source.gripSpace || !source.gamepad) continue;
      const buttons = source.gamepad.buttons;
      const down = buttons.map((button) => button.pressed);
      const before = this.down.get(source.handedness) ?? down; // what is down at first was not pressed
      this.down.set(source.handedness, down);
      down.forEach((is, place) => { if (is && !before[place]) pressed.push(place); });
      this.push(source.handedness, source.gamepad.axes[ACROSS] ?? 0, source.gamepad.axes[ALONG] ?? 0);
      const arm = this.armOf(source.handedness);
      if (arm < 0) continue;
      // The first grip moves the arm until it opens. A grip that was closed before control was
      // taken, or by the other hand meanwhile, must be closed again.
      if (down[GRIP] && !before[GRIP] && !this.movers.has(arm)) this.movers.set(arm, source.handedness);
      if (this.movers.get(arm) === source.handedness) {
        gone.delete(arm);
        if (!down[GRIP]) this.movers.delete(arm);
      }
      const held = this.movers.get(arm) === source.handedness;
      if (held || !this.movers.has(arm)) hands.set(arm, this.handOf(arm, held, buttons[TRIGGER]?.value ?? 0, frame.getPose(source.gripSpace, this.space)));
    }
    if (this.movers.size) this.gripped = now;
    this.hands = [...hands.values()];
    this.act(pressed, now);
    if (this.engaged) this.check(now, [...gone.keys()]);
    for (const arm of gone.keys()) this.movers.delete(arm);
    this.send(now);
  }

  handOf(arm, held, trigger, pose) {
    const tracked = Boolean(pose) && !pose.emulatedPosition;
    const { position: p, orientation: q } = pose?.transform ?? { position: { x: 0, y: 0, z: 0 }, orientation: { x: 0, y: 0, z: 0, w: 1 } };
    const rounded = (values) => values.map((value) => Math.round(1e5 * value) / 1e5);
    return {
      arm, held, tracked, trigger: Math.min(1, Math.max(0, trigger)),
      position: rounded([p.x, p.y, p.z]), rotation: rounded([q.x, q.y, q.z, q.w]),
    };
  }

  // A pushed stick chooses: sideways the view, up or down the share of the hand's motion.
  push(handedness, x, y) {
    const far = Math.max(Math.abs(x), Math.abs(y));
    if (far < MIDDLE) this.pushed.delete(handedness);
    if (far < PUSHED || this.pushed.has(handedness)) return;
    this.pushed.add(handedness);
    if (Math.abs(x) > Math.abs(y)) this.nextFrame();
    else this.nextSpeed();
  }

  act(pressed, now) {
    if (pressed.includes(GRIP) && !this.engaged) this.engage(now);
    if (pressed.includes(STICK)) this.letGo("paused with the headset");
    if (pressed.includes(LOWER)) this.handBack();
    if (pressed.includes(UPPER)) this.request("rollback", { steps: BACK_STEPS });
  }

  // gone: arms whose controller has disappeared while its grip was held.
  check(now, gone) {
    const unseen = this.hands.find((hand) => hand.held && !hand.tracked)?.arm ?? gone[0];
    if (unseen !== undefined) this.letGo(`the ${this.arms[unseen]} controller has lost its tracking`);
    else if (now - this.gripped > IDLE_MS) this.letGo(`no grip for ${IDLE_MS / 1000} s`);
  }

  engage(now) {
    const why = this.on.mayDrive() || (this.movable ? "" : "this robot's arms have no tip that a hand could move");
    if (why) { this.lose(why); return; }
    Object.assign(this, { engaged: true, why: "", gripped: now, sentAt: 0 });
    this.on.changed();
  }

  handBack() {
    if (!this.engaged) return;
    this.lose("");
  }

  // Release control without handing back: the session pauses.
  letGo(why) {
    if (!this.engaged) return;
    this.link.send({ type: "let_go", why });
    this.lose(why);
  }

  // Control has ended, or was refused: release without a message.
  lose(why) {
    this.engaged = false;
    this.movers.clear();
    this.sentAt = 0;
    this.why = why;
    this.on.changed();
  }

  request(action, more) {
    this.link.send({ type: "act", id: ++this.acts, action, ...more });
  }

  send(now) {
    if (now - this.sentAt < SEND_MS) return;
    this.sentAt = now;
    this.link.send({
      type: "drive", axes: new Array(this.world.axes).fill(0), deadman: this.engaged, t: performance.now(), device: "headset",
      frame: this.frame, speed: this.speed, demonstration: this.demonstration ?? false, hands: this.hands,
    });
  }
}
