// A headset that a test moves by window.played: the emulator iwer if the page has it, else a simple
// one of this file, in place of the browser's WebXR. Positions are in the headset's local space.

const SIDES = ["left", "right"];
const PLACES = { trigger: 0, squeeze: 1, thumbstick: 3, "lower-button": 4, "upper-button": 5 };

function simple() {
  const sources = SIDES.map((handedness) => ({
    handedness, gripSpace: { position: { x: 0, y: -0.4, z: -0.3 }, orientation: { x: 0, y: 0, z: 0, w: 1 }, tracked: true, estimated: false },
    gamepad: { buttons: Array.from({ length: 6 }, () => ({ pressed: false, value: 0 })), axes: [0, 0, 0, 0] },
  }));
  const source = (side) => sources.find((one) => one.handedness === side);
  const identity = new DOMMatrix().toFloat32Array();
  const frame = {
    getPose: (space) => (space.tracked ? { transform: space, emulatedPosition: space.estimated } : null),
    getViewerPose: () => ({ views: [{ transform: { inverse: { matrix: identity } }, projectionMatrix: identity }] }),
  };
  let asleep = false;
  class Session extends EventTarget {
    constructor() { super(); Object.assign(this, { inputSources: sources, visibilityState: "visible", renderState: {} }); }
    async updateRenderState(state) { this.renderState = state; }
    async requestReferenceSpace() { return {}; }
    requestAnimationFrame(then) {
      const turn = (at) => (asleep ? requestAnimationFrame(turn) : then(at, frame));
      requestAnimationFrame(turn);
    }
    async end() { this.dispatchEvent(new Event("end")); }
  }
  window.XRWebGLLayer = class { framebuffer = null; getViewport() { return { x: 0, y: 0, width: 64, height: 64 }; } };
  WebGLRenderingContext.prototype.makeXRCompatible = async () => {};
  Object.defineProperty(navigator, "xr", { value: { isSessionSupported: async (kind) => kind === "immersive-vr", requestSession: async () => new Session() } });
  return {
    move(side, x, y, z) { source(side).gripSpace.position = { x, y, z }; },
    press(side, name, value) { source(side).gamepad.buttons[PLACES[name]] = { pressed: value > 0.5, value }; },
    push(side, x, y) { source(side).gamepad.axes = [0, 0, x, y]; },
    estimate(side, is) { source(side).gripSpace.estimated = is; },
    connect(side, is) { source(side).gripSpace.tracked = is; },
    sleep(is) { asleep = is; },
  };
}

function emulated() {
  const device = new IWER.XRDevice(IWER.metaQuest3);
  device.installRuntime({ forceInstall: true });
  const names = { left: ["x-button", "y-button"], right: ["a-button", "b-button"] };
  const named = (side, name) => ({ "lower-button": names[side][0], "upper-button": names[side][1] })[name] ?? name;
  // The emulator calls every pose an estimate; a Quest does so only where it does not see it.
  const estimate = (side, is) => {
    const space = device.controllers[side].inputSource.gripSpace;
    space[Object.getOwnPropertySymbols(space).find((symbol) => "emulated" in space[symbol])].emulated = is;
  };
  for (const side of SIDES) estimate(side, false);
  const { x: headX, y: headY, z: headZ } = device.position;
  return {
    move(side, x, y, z) { device.controllers[side].position.set(headX + x, headY + y, headZ + z); },
    press(side, name, value) { device.controllers[side].updateButtonValue(named(side, name), value); },
    push(side, x, y) { device.controllers[side].updateAxes("thumbstick", x, y); },
    estimate,
    connect(side, is) { device.controllers[side].connected = is; },
    sleep(is) { device.updateVisibilityState(is ? "hidden" : "visible"); },
  };
}

window.played = window.IWER ? emulated() : simple();
