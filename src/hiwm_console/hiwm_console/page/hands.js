// The operator's input: keys, touch pads, gamepads and SpaceMice become axes and a deadman, sent
// thirty times a second and immediately at every change.

import { armsOf, framesOf, movesOf } from "./key_map.js";
import { SpaceMice } from "./spacemouse.js";

const SEND_MS = 33;
// Control is released after this long without any input.
export const IDLE_MS = 5000;
// Lifting all fingers from the pads stops the arms at once. Control is released this much later, so
// that a person can move a finger from a pad to the gripper.
export const LIFT_MS = 600;
// A beat this late means that the browser or the machine slept.
const SLEPT_MS = 1500;
const STICK_DEAD = 0.12;
const HOLD_BUTTON = 5; // right shoulder
const SPEEDS = [1, 0.5, 0.25]; // shares of full speed

export class Hands {
  // link; on: {taken(), freed(why), wanted(), button(name), pressed(t), devices(text)}; wanted()
  // takes over if this page may, as the key does.
  constructor(link, on) {
    this.link = link;
    this.on = on;
    this.engaged = false;
    this.device = "keys";
    this.demonstration = false; // recorded as a demonstration, not as a correction
    this.frames = []; // that the arms can be driven in
    this.frame = ""; // the first of them, until the person chooses
    this.speed = SPEEDS[0];
    this.world = null;
    this.arms = [];
    this.moves = new Map();
    this.size = 0;
    this.keys = new Map(); // held, in lower case -> whether pressed with Shift
    this.pads = new Map(); // pointer that touches a pad -> [[entry, value]]
    this.byTouch = false; // control was taken with a pad, and ends with it
    this.lifted = 0;
    this.beaten = performance.now();
    this.touched = 0;
    this.sent = "";
    this.padButtons = [];
    this.secondArm = false; // whether a single SpaceMouse moves the second arm
    this.mice = new SpaceMice(
      () => { this.touch("spacemouse"); this.send(); },
      (mouse, button) => {
        if (button === 0) this.engaged ? this.handBack() : this.engage();
        if (button === 1) { this.secondArm = !this.secondArm; this.tellDevices(); }
      },
      (name) => { if (this.engaged && this.device === "spacemouse") this.letGo(`${name} was unplugged`); this.tellDevices(); },
    );
    setInterval(() => this.beat(), SEND_MS);
    addEventListener("blur", () => this.letGo("the page lost the focus"));
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.letGo("the page was hidden");
    });
    addEventListener("pagehide", () => this.letGo("the page was left"));
    addEventListener("gamepadconnected", () => this.tellDevices());
    addEventListener("gamepaddisconnected", (event) => {
      if (this.engaged && this.device === "gamepad") this.letGo(`${event.gamepad.id} was unplugged`);
      this.tellDevices();
    });
  }

  setWorld(world) {
    this.world = world;
    this.size = world.axes;
    this.frames = framesOf(world);
    if (!this.frames.includes(this.frame)) this.frame = this.frames[0] ?? "base";
    this.mapArms();
  }

  mapArms() {
    this.arms = armsOf(this.world, this.frame);
    this.moves = movesOf(this.arms);
  }

  nextFrame() {
    this.frame = this.frames[(this.frames.indexOf(this.frame) + 1) % this.frames.length];
    this.pads.clear(); // what is touched now has another meaning
    this.mapArms();
    this.send();
  }

  nextSpeed() {
    this.speed = SPEEDS[(SPEEDS.indexOf(this.speed) + 1) % SPEEDS.length];
    this.send();
  }

  // What a key moves here: [entry, sign]; undefined if nothing.
  moveOf(key, shift) { return this.moves.get((shift ? "S+" : "") + key); }

  touch(device) {
    this.touched = performance.now();
    this.device = device;
  }

  // A key keeps its meaning until it is released, whatever Shift does in between.
  key(name, down, shift = false) {
    if (down && !this.keys.has(name)) {
      this.keys.set(name, shift);
      if (this.engaged) this.on.pressed(performance.now());
    } else if (!down) this.keys.delete(name);
    this.touch("keys");
    this.send();
  }

  // Shift is up: what was pressed with it ends, and does not become the motion of the bare key.
  unshift() {
    for (const [name, shift] of this.keys) if (shift) this.keys.delete(name);
    this.touch("keys");
    this.send();
  }

  // A pointer touches a pad or moves on it: [[entry, value]], -1..1.
  touchPad(pointer, axes) {
    if (!this.pads.has(pointer)) {
      clearTimeout(this.lifted);
      if (!this.engaged) { this.byTouch = true; this.on.wanted(); }
      if (this.engaged) this.on.pressed(performance.now());
      else this.byTouch = false;
    }
    this.pads.set(pointer, axes);
    this.touch("touch");
    this.send();
  }

  // A pointer has left its pad, in any way.
  lift(pointer) {
    if (!this.pads.delete(pointer)) return;
    if (this.engaged) this.touch("touch");
    this.send();
    if (this.pads.size || !this.engaged || !this.byTouch) return;
    clearTimeout(this.lifted);
    this.lifted = setTimeout(() => {
      if (!this.pads.size && this.byTouch) this.letGo("the pads were released", false);
    }, LIFT_MS);
  }

  engage() {
    if (!this.size) return;
    this.engaged = true;
    this.touched = performance.now();
    this.on.taken();
    this.send();
  }

  handBack() {
    if (!this.engaged) return;
    this.end();
    this.on.freed("");
    this.send();
  }

  end() {
    this.engaged = this.byTouch = false;
    this.pads.clear();
    clearTimeout(this.lifted);
  }

  // Release control without handing back: the session pauses. `show`: whether to show the reason.
  letGo(why, show = true) {
    this.keys.clear();
    if (!this.engaged) return;
    this.end();
    this.link.send({ type: "let_go", why });
    this.on.freed(show ? why : "");
  }

  // The server ended our control, or the session was paused: release without a message.
  drop(why) {
    const held = this.engaged;
    this.end();
    if (held) this.on.freed(why);
    this.sent = "";
    this.send();
  }

  axes() {
    const axes = new Array(this.size).fill(0);
    const move = (entry, value) => {
      if (entry !== undefined) axes[entry] = Math.max(-1, Math.min(1, axes[entry] + value));
    };
    const add = (arm, kind, value) => move(this.arms[arm]?.controls.find((one) => one.kind === kind)?.entry, value);
    for (const [key, shift] of this.keys) {
      const found = this.moveOf(key, shift);
      if (found) move(...found);
    }
    for (const touched of this.pads.values()) for (const [entry, value] of touched) move(entry, value);
    this.mice.mice.forEach((mouse, number) => {
      const arm = this.mice.mice.length > 1 ? number : Number(this.secondArm);
      for (const kind of ["x", "y", "z", "roll", "pitch", "yaw"]) add(arm, kind, mouse.state[kind]);
    });
    const pad = this.pad();
    if (pad) {
      for (const [arm, axis, place, sign] of [[0, "x", 0, 1], [0, "y", 1, -1], [1, "x", 2, 1], [1, "y", 3, -1]]) {
        const value = pad.axes[place] || 0;
        if (Math.abs(value) > STICK_DEAD) {
          add(arm, axis, sign * Math.sign(value) * (Math.abs(value) - STICK_DEAD) / (1 - STICK_DEAD));
          this.touch("gamepad");
        }
      }
    }
    return axes;
  }

  pad() {
    return navigator.getGamepads ? [...navigator.getGamepads()].find((pad) => pad && pad.connected) : null;
  }

  readPad() {
    const pad = this.pad();
    const buttons = pad ? pad.buttons.map((button) => button.pressed) : [];
    const before = this.padButtons;
    this.padButtons = buttons;
    const names = { 0: "success", 1: "failure", 2: "fork", 3: "rollback", 8: "stop", 9: "pause" };
    for (const [button, name] of Object.entries(names)) {
      if (buttons[button] && !before[button]) { this.touch("gamepad"); this.on.button(name); }
    }
    if (buttons[HOLD_BUTTON] && !before[HOLD_BUTTON]) { this.touch("gamepad"); this.engage(); }
    if (buttons[HOLD_BUTTON]) this.touch("gamepad");
    if (!buttons[HOLD_BUTTON] && before[HOLD_BUTTON]) this.handBack();
  }

  beat() {
    const now = performance.now(), late = now - this.beaten;
    this.beaten = now;
    if (late > SLEPT_MS) this.letGo(`this page slept for ${(late / 1000).toFixed(0)} s`);
    this.readPad();
    if (this.engaged && performance.now() - this.touched > IDLE_MS && !this.keys.size && !this.pads.size) {
      this.letGo(`no key for ${IDLE_MS / 1000} s`);
    }
    this.send(this.engaged);
  }

  send(always = false) {
    if (!this.size) return;
    const axes = this.engaged ? this.axes() : new Array(this.size).fill(0);
    const input = JSON.stringify([axes, this.engaged, this.frame, this.speed]);
    if (!always && input === this.sent) return;
    const message = { type: "drive", axes, deadman: this.engaged, t: performance.now(), device: this.device, demonstration: this.demonstration, frame: this.frame, speed: this.speed };
    if (this.link.send(message)) this.sent = input;
  }

  tellDevices() {
    const names = ["keys"];
    const pad = this.pad();
    if (pad) names.push(`gamepad ${pad.id.slice(0, 30)}`);
    for (const mouse of this.mice.mice) names.push(mouse.device.productName || "SpaceMouse");
    if (this.mice.mice.length === 1 && this.arms?.length > 1) names.push(`on the ${this.arms[Number(this.secondArm)].name} arm`);
    this.on.devices(names.join(", "));
  }
}
