// Plays the frames of one episode, and loads those of the next before they are asked for.

const SHOWN_HZ = 15; // frames shown in a second, at most; faster playing leaves some out
const AT_ONCE = 4; // requests for frames at the same time
const SPEEDS = [0.5, 1, 2, 4, 8, 16];

// The frames of an episode: loads every `stride`th first, and any other when it is looked at.
export class Frames {
  constructor(address, steps, headers) {
    Object.assign(this, { address, steps, headers, bitmaps: new Map(), asked: new Map(), closed: false });
  }

  get(index) {
    if (this.bitmaps.has(index)) return Promise.resolve(this.bitmaps.get(index));
    if (!this.asked.has(index)) this.asked.set(index, this.load(index));
    return this.asked.get(index);
  }

  async load(index) {
    try {
      const answer = await fetch(`${this.address}${index}`);
      const bitmap = answer.ok ? await createImageBitmap(await answer.blob()) : null;
      if (this.closed) { bitmap?.close(); return null; }
      this.bitmaps.set(index, bitmap);
      return bitmap;
    } catch { // no connection: asked again when it is looked at again
      return null;
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
    for (const bitmap of this.bitmaps.values()) bitmap?.close();
    this.bitmaps.clear();
  }
}

export class Player {
  // on: {shown(index), ended(), sized()}
  constructor(canvas, on) {
    Object.assign(this, { canvas, on, frames: null, rate: 10, index: 0, timer: 0, speed: 4 });
  }

  get playing() { return this.timer !== 0; }
  get stride() { return Math.max(1, Math.round(this.rate * this.speed / SHOWN_HZ)); }
  get last() { return this.frames ? this.frames.steps.length - 1 : 0; }

  show(frames, rate) {
    this.stop();
    Object.assign(this, { frames, rate, index: 0 });
    this.seek(0);
  }

  async seek(index) {
    if (!this.frames) return;
    this.index = Math.max(0, Math.min(this.last, index));
    const wanted = this.index, frames = this.frames;
    this.on.shown(this.index);
    const bitmap = await frames.get(wanted);
    if (frames !== this.frames || wanted !== this.index) return; // another one was asked for since
    const { canvas } = this;
    if (!bitmap) { canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height); return; }
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
      this.on.sized();
    }
    canvas.classList.toggle("pixels", bitmap.width < 320);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    canvas.dataset.index = String(wanted);
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
