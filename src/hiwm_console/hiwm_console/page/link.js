// The connection: JSON messages both ways, frames in. It reconnects by itself after a loss.

const HEADER_BYTES = 28;

export class Link {
  // handlers: message(object), frame({camera, epoch, step, t}, bitmap), open(), lost(why)
  constructor(handlers) {
    this.handlers = handlers;
    this.socket = null;
    this.delay = 250;
    const token = new URLSearchParams(location.hash.slice(1)).get("token");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.address = `${scheme}://${location.host}/console` + (token ? `?token=${encodeURIComponent(token)}` : "");
    this.round = null; // last measured round-trip time, ms
    this.connect();
    setInterval(() => this.send({ type: "ping", t: performance.now() }), 2000);
  }

  get ready() { return this.socket !== null && this.socket.readyState === WebSocket.OPEN; }

  connect() {
    const socket = new WebSocket(this.address);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => { this.delay = 250; this.handlers.open(); };
    socket.onmessage = (event) => {
      if (typeof event.data === "string") this.text(JSON.parse(event.data));
      else this.frame(event.data);
    };
    socket.onclose = (event) => {
      this.handlers.lost(event.reason || "no connection");
      setTimeout(() => this.connect(), this.delay);
      this.delay = Math.min(2 * this.delay, 5000);
    };
  }

  text(message) {
    if (message.type === "pong") this.round = performance.now() - message.t;
    this.handlers.message(message);
  }

  async frame(buffer) {
    const view = new DataView(buffer);
    const frame = {
      camera: view.getUint8(1), epoch: view.getUint32(4, true), step: view.getUint32(8, true),
      number: view.getFloat64(12, true), t: view.getFloat64(20, true),
    };
    try {
      const bitmap = await createImageBitmap(new Blob([new Uint8Array(buffer, HEADER_BYTES)]));
      this.handlers.frame(frame, bitmap);
      bitmap.close();
    } finally {
      // Only now may another frame be sent: a slow page sees fewer frames, never old ones.
      this.send({ type: "seen", n: frame.number });
    }
  }

  send(message) {
    if (!this.ready) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }
}
