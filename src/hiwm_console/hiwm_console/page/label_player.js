// Plays the frames of one episode, and loads those of the next before they are asked for.

const SHOWN_HZ = 15; // frames shown in a second, at most; faster playing leaves some out
const AT_ONCE = 4; // requests for frames at the same time
const SPEEDS = [0.5, 1, 2, 4, 8, 16];

// The frames of an episode, a list of one for each camera at each step; null is a missing one. Loads
// every `stride`th first, and any other when it is looked at.
export class Frames {
  constructor(address, steps, cameras) {
    Object.assign(this, { address, steps, cameras, bitmaps: new Map(), asked: new Map(), closed: false });
  }

  get(index) {
    if (this.bitmaps.has(index)) return Promise.resolve(this.bitmaps.get(index));
    if (!this.asked.has(index)) this.asked.set(index, this.load(index));
    return this.asked.get(index);
  }

  async load(index) {
    try {
      const found = await Promise.all(this.cameras.map(async (_, camera) => {
        const answer = await fetch(`${this.address}${camera}/${index}`);
        return answer.ok ? createImageBitmap(await answer.blob()) : null;
      }));
      if (this.closed) { found.forEach((bitmap) => bitmap?.close()); return []; }
      this.bitmaps.set(index, found);
      return found;
    } catch { // no connection: asked again when it is looked at again
      return [];
    } finally {
      this.asked.delete(index);
    }
  }

  // Loads the frames that playing will show, in order.
  async ahead(stride) {
    let next = 0;
    const worker = async () => {
      while (next < this.steps.length && !this.closed) {
        const index = next;
        next += stride;
        await this.get(index);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  close() {
    this.closed = true;
    for (const bitmap of [...this.bitmaps.values()].flat()) bitmap?.close();
    this.bitmaps.clear();
  }
}

export class Player {
  // on: {shown(index), ended()}
  constructor(screen, on) {
    Object.assign(this, { screen, on, frames: null, rate: 10, index: 0, timer: 0, speed: 4 });
  }

  get playing() { return this.timer !== 0; }
  get stride() { return Math.max(1, Math.round(this.rate * this.speed / SHOWN_HZ)); }
  get last() { return this.frames ? this.frames.steps.length - 1 : 0; }

  show(frames, rate) {
    this.stop();
    Object.assign(this, { frames, rate, index: 0 });
    this.screen.setCameras(frames.cameras);
    this.seek(0);
  }

  async seek(index) {
    if (!this.frames) return;
    this.index = Math.max(0, Math.min(this.last, index));
    const wanted = this.index, frames = this.frames;
    this.on.shown(this.index);
    const bitmaps = await frames.get(wanted);
    if (frames !== this.frames || wanted !== this.index) return; // another one was asked for since
    this.screen.show(bitmaps, wanted);
  }

  play() {
    if (!this.frames || this.playing) return;
    if (this.index >= this.last) this.seek(0);
    const beat = () => {
      if (this.index >= this.last) { this.stop(); this.on.ended(); return; }
      this.seek(this.index + this.stride);
    };
    this.timer = setInterval(beat, 1000 * this.stride / (this.rate * this.speed));
    this.on.shown(this.index);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
  }

  faster(places) {
    const playing = this.playing;
    this.stop();
    this.speed = SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, SPEEDS.indexOf(this.speed) + places))];
    if (playing) this.play();
    else this.on.shown(this.index);
  }
}
