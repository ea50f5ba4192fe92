// The headset's page: connects the console, the controllers and the floating pictures.

import { Headset } from "./headset.js";
import { Link } from "./link.js";
import { Panels } from "./panels.js";
import { STALE_MS } from "./stale.js";

const $ = (id) => document.getElementById(id);
const state = { access: { drive: false, reason: "waiting for the console" }, id: 0, seats: null, control: null, tick: null, connected: false };
const panels = new Panels();
const views = new Map(); // number of a view -> when its last picture came, page clock
const MODES = { PAUSED: "Nothing moves", POLICY: "The policy drives", HUMAN: "A person drives", HANDBACK: "Handing back to the policy", STOPPED: "Stopped by software" };

const receivers = {
  hello(data) { Object.assign(state, { access: data.access, id: data.id }); headset.demonstration = data.demonstrations; show(); },
  world(data) {
    headset.setWorld(data);
    views.clear();
    data.cameras.forEach((camera, number) => { if (camera.view) views.set(number, performance.now()); });
  },
  control(data) { state.control = data; show(); },
  seats(data) { state.seats = data; },
  tick(data) { state.tick = data; show(); },
  refused(data) {
    // Somebody else has the controls: this page had none. On any other refusal it releases control.
    if (data.reason.includes("controls")) headset.lose(data.reason);
    else headset.letGo(data.reason);
  },
  released(data) { if (headset.engaged) headset.lose(data.reason); },
  answer(data) { if (!data.ok) headset.why = data.message; show(); },
};
const link = new Link({
  message: (data) => receivers[data.type]?.(data),
  frame({ camera }, bitmap) {
    if (views.has(camera)) views.set(camera, performance.now());
    panels.show(camera, bitmap, bitmap.width, bitmap.height);
  },
  open() { state.connected = true; show(); },
  lost() { state.connected = false; headset.lose("the connection was lost"); },
});
const headset = new Headset(link, {
  changed: show,
  mayDrive() {
    if (!state.access.drive) return state.access.reason;
    if (state.control?.mode === "STOPPED") return "stopped: clear the stop in the console first";
    const driver = state.seats?.driver ?? null;
    if (driver !== null && driver !== state.id) link.send({ type: "seat", do: "ask" });
    return "";
  },
});
window.hiwmHeadset = { headset, link, state, panels }; // for tests

function show() {
  if (typeof headset === "undefined") return;
  const mode = state.connected ? state.control?.mode ?? "WAITING" : "NO CONNECTION";
  const who = headset.engaged ? `You drive. ${state.tick?.note ?? ""}` : headset.why || MODES[mode] || "";
  $("state").textContent = `${mode}: ${who}`;
  $("frame").textContent = `View: ${headset.frame}`;
  $("frame").disabled = headset.frames.length < 2;
  $("speed").textContent = `Hand to arm: ${100 * headset.speed} %`;
  $("enter").textContent = headset.session ? "In the headset" : "Enter";
  $("enter").disabled = !navigator.xr || Boolean(headset.session) || !headset.world;
  const colour = getComputedStyle(document.documentElement).getPropertyValue(`--${mode.toLowerCase()}`);
  panels.say(mode, who, `${headset.frame} · hand to arm ${100 * headset.speed} %`, colour || "#444");
}

async function enter() {
  const kind = await navigator.xr.isSessionSupported("immersive-ar") ? "immersive-ar" : "immersive-vr";
  const session = await navigator.xr.requestSession(kind, { requiredFeatures: ["local"] });
  await panels.gl?.makeXRCompatible?.();
  if (panels.gl) await session.updateRenderState({ baseLayer: new XRWebGLLayer(session, panels.gl) });
  const space = await session.requestReferenceSpace("local");
  headset.begin(session, space);
  const turn = (_, frame) => {
    if (headset.session !== session) return;
    session.requestAnimationFrame(turn);
    headset.look(frame, performance.now());
    panels.draw(session.renderState.baseLayer, frame.getViewerPose(space));
  };
  session.requestAnimationFrame(turn);
}

// A view without a new picture leaves: what stands still must not look alive.
setInterval(() => {
  for (const [camera, at] of views) if (performance.now() - at > STALE_MS) panels.textures.delete(camera);
}, 500);
$("enter").addEventListener("click", () => enter().catch((error) => { headset.why = `the headset refused: ${error.message}`; show(); }));
$("frame").addEventListener("click", () => headset.nextFrame());
$("speed").addEventListener("click", () => headset.nextSpeed());
document.querySelector("h1 a").href += location.hash; // the token
for (const place of document.querySelectorAll(".port")) place.textContent = location.port;
$("insecure").hidden = isSecureContext;
$("without").hidden = !isSecureContext || Boolean(navigator.xr);
show();
