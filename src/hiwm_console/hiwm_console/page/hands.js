// The operator's input: keys, gamepads and SpaceMice become axes and a deadman, sent thirty times a
// second and immediately at every change.

import { SpaceMice } from "./spacemouse.js";

const SEND_MS = 33;
// Control is released after this long without any input.
export const IDLE_MS = 5000;
const STICK_DEAD = 0.12;
// Key to arm, axis in its plane, sign.
export const MOVES = {
  w: [0, 1, 1], s: [0, 1, -1], a: [0, 0, -1], d: [0, 0, 1],
  i: [1, 1, 1], k: [1, 1, -1], j: [1, 0, -1], l: [1, 0, 1],
};
const HOLD_BUTTON = 5; // right shoulder

export class Hands {
  // link; on: {taken(), freed(why), button(name), pressed(t), devices(text)}
  constructor(link, on) {
    this.link = link;
    this.on = on;
    this.engaged = false;
    this.device = "keys";
    this.demonstration = false; // recorded as a demonstration, not as a correction
    this.planes = [];
    this.size = 0;
    this.keys = new Set();
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
    addEventListener("blur", () => { this.keys.clear(); this.send(); });
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
    this.size = world.actions.length;
    const arms = [...new Set(world.actions.map((entry) => entry.arm))];
    this.planes = arms.map((arm) => world.actions.map((entry, i) => [entry, i])
      .filter(([entry]) => entry.arm === arm && entry.unit === "m").map(([, i]) => i));
    this.arms = arms;
  }

  touch(device) {
    this.touched = performance.now();
    this.device = device;
  }

  key(name, down) {
    if (down && !this.keys.has(name)) {
      this.keys.add(name);
      if (this.engaged) this.on.pressed(performance.now());
    } else if (!down) this.keys.delete(name);
    this.touch("keys");
    this.send();
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
    this.engaged = false;
    this.on.freed("");
    this.send();
  }

  // Release control without handing back: the session pauses. `show`: whether to show the reason.
  letGo(why, show = true) {
    this.keys.clear();
    if (!this.engaged) return;
    this.engaged = false;
    this.link.send({ type: "let_go", why });
    this.on.freed(show ? why : "");
  }

  // The server ended our control, or the session was paused: release without a message.
  drop(why) {
    const held = this.engaged;
    this.engaged = false;
    if (held) this.on.freed(why);
    this.sent = "";
    this.send();
  }

  axes() {
    const axes = new Array(this.size).fill(0);
    const add = (arm, axis, value) => {
      const place = this.planes[arm]?.[axis];
      if (place !== undefined) axes[place] = Math.max(-1, Math.min(1, axes[place] + value));
    };
    for (const key of this.keys) add(...MOVES[key]);
    this.mice.mice.forEach((mouse, number) => {
      const arm = this.mice.mice.length > 1 ? number : Number(this.secondArm);
      add(arm, 0, mouse.state.x);
      add(arm, 1, mouse.state.y);
      add(arm, 2, mouse.state.z);
    });
    const pad = this.pad();
    if (pad) {
      for (const [arm, axis, place, sign] of [[0, 0, 0, 1], [0, 1, 1, -1], [1, 0, 2, 1], [1, 1, 3, -1]]) {
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
    this.readPad();
    if (this.engaged && performance.now() - this.touched > IDLE_MS && !this.keys.size) {
      this.letGo(`no key for ${IDLE_MS / 1000} s`);
    }
    this.send(this.engaged);
  }

  send(always = false) {
    if (!this.size) return;
    const axes = this.engaged ? this.axes() : new Array(this.size).fill(0);
    const input = JSON.stringify([axes, this.engaged]);
    if (!always && input === this.sent) return;
    const message = { type: "drive", axes, deadman: this.engaged, t: performance.now(), device: this.device, demonstration: this.demonstration };
    if (this.link.send(message)) this.sent = input;
  }

  tellDevices() {
    const names = ["keys"];
    const pad = this.pad();
    if (pad) names.push(`gamepad ${pad.id.slice(0, 30)}`);
    for (const mouse of this.mice.mice) names.push(mouse.device.productName || "SpaceMouse");
    if (this.mice.mice.length === 1 && this.arms?.length > 1) names.push(`on the ${this.arms[Number(this.secondArm)]} arm`);
    this.on.devices(names.join(", "));
  }
}
