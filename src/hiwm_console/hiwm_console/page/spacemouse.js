// A SpaceMouse over WebHID, decoded here: nothing needs to be installed on the operator's machine.
// Axes of the device: x right, y towards the operator, z down; ours: y away, z up.

export const FILTERS = [
  { vendorId: 0x256f, usagePage: 0x01, usage: 0x08 },
  ...[0xc603, 0xc605, 0xc606, 0xc621, 0xc623, 0xc625, 0xc626, 0xc627, 0xc628, 0xc629, 0xc62b]
    .map((productId) => ({ vendorId: 0x046d, productId })),
];
const FULL = 350; // counts at full deflection
const DEAD = 0.06;

function axis(view, offset) {
  const value = Math.max(-1, Math.min(1, view.getInt16(offset, true) / FULL));
  if (Math.abs(value) < DEAD) return 0;
  // Starts from 0 at the edge of the dead zone, and is gentle near it.
  const travel = (Math.abs(value) - DEAD) / (1 - DEAD);
  return Math.sign(value) * travel * travel;
}

// State of one device after a report: 1 = translation (newer models: with rotation), 2 = rotation,
// 3 = buttons as bits.
export function decode(state, reportId, view) {
  const next = { ...state };
  if (reportId === 1 && view.byteLength >= 6) {
    next.x = axis(view, 0);
    next.y = 0 - axis(view, 2);
    next.z = 0 - axis(view, 4);
  }
  const turning = reportId === 2 ? 0 : reportId === 1 && view.byteLength >= 12 ? 6 : -1;
  if (turning >= 0 && view.byteLength >= turning + 6) {
    next.pitch = axis(view, turning);
    next.roll = 0 - axis(view, turning + 2);
    next.yaw = 0 - axis(view, turning + 4);
  }
  if (reportId === 3) {
    next.buttons = 0;
    for (let i = 0; i < Math.min(4, view.byteLength); i++) next.buttons |= view.getUint8(i) << (8 * i);
  }
  return next;
}

export const AT_REST = { x: 0, y: 0, z: 0, pitch: 0, roll: 0, yaw: 0, buttons: 0 };

export class SpaceMice {
  // changed(): a report arrived; pressed(device number, button number); lost(name)
  constructor(changed, pressed, lost) {
    this.mice = [];
    this.changed = changed;
    this.pressed = pressed;
    this.lost = lost;
    this.hid = navigator.hid;
    if (!this.hid) return;
    this.hid.addEventListener("disconnect", (event) => this.drop(event.device));
    this.hid.getDevices().then((devices) => devices.forEach((device) => this.open(device)));
  }

  get possible() { return Boolean(this.hid); }

  async choose() {
    for (const device of await this.hid.requestDevice({ filters: FILTERS })) await this.open(device);
  }

  async open(device) {
    if (this.mice.some((mouse) => mouse.device === device)) return;
    if (!device.opened) await device.open();
    const mouse = { device, state: AT_REST, at: 0 };
    this.mice.push(mouse);
    device.addEventListener("inputreport", (event) => {
      const before = mouse.state;
      mouse.state = decode(before, event.reportId, event.data);
      mouse.at = performance.now();
      const fresh = mouse.state.buttons & ~before.buttons;
      for (let button = 0; button < 32; button++) {
        if (fresh >>> button & 1) this.pressed(this.mice.indexOf(mouse), button);
      }
      this.changed();
    });
    this.changed();
  }

  drop(device) {
    const index = this.mice.findIndex((mouse) => mouse.device === device);
    if (index < 0) return;
    this.mice.splice(index, 1);
    this.lost(device.productName || "SpaceMouse");
  }
}
