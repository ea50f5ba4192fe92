// Pictures that float before a person in a headset: the cameras side by side, and a line of text
// below them. Drawn with WebGL, one textured rectangle each.

const DISTANCE_M = 1.4, WIDE_M = 1.7, TEXT_M = 1.2; // from the head at the start, and widths
const DOWN_M = -0.1; // middle of the pictures, below the eyes
const GAP_M = 0.04;
const VERTEX = `attribute vec2 corner; uniform mat4 view, projection; uniform vec4 box; varying vec2 at;
void main() { at = vec2(corner.x, 1.0 - corner.y); gl_Position = projection * view * vec4(box.xy + corner * box.zw, ${-DISTANCE_M.toFixed(2)}, 1.0); }`;
const FRAGMENT = `precision mediump float; varying vec2 at; uniform sampler2D picture;
void main() { gl_FragColor = texture2D(picture, at); }`;

export class Panels {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.gl = this.canvas.getContext("webgl", { xrCompatible: true });
    this.textures = new Map(); // camera, or "text" -> {texture, width, height}
    this.paper = Object.assign(document.createElement("canvas"), { width: 1024, height: 128 });
    this.said = "";
    const { gl } = this;
    if (!gl) return;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(program, "corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    this.at = Object.fromEntries(["view", "projection", "box"].map((name) => [name, gl.getUniformLocation(program, name)]));
  }

  // Shows a picture of a camera, or the text.
  show(name, image, width, height) {
    const { gl } = this;
    if (!gl) return;
    if (!this.textures.has(name)) this.textures.set(name, { texture: gl.createTexture() });
    const panel = Object.assign(this.textures.get(name), { width, height });
    gl.bindTexture(gl.TEXTURE_2D, panel.texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
  }

  // The line of text: the mode with how the hands move the arms beside it, and who acts or why not.
  say(mode, text, manner, colour) {
    const said = [mode, text, manner, colour].join("\n");
    if (said === this.said) return;
    this.said = said;
    const pen = this.paper.getContext("2d"), { width, height } = this.paper;
    pen.fillStyle = colour;
    pen.fillRect(0, 0, width, height);
    pen.fillStyle = "#fff";
    pen.font = "bold 52px sans-serif";
    pen.fillText(mode, 24, 56);
    pen.font = "36px sans-serif";
    pen.fillText(text, 24, 110, width - 48);
    pen.textAlign = "right";
    pen.fillText(manner, width - 24, 56, width / 2);
    pen.textAlign = "left";
    this.show("text", this.paper, width, height);
  }

  // Boxes of the panels [x, y, width, height], m: cameras as high as each other, side by side.
  boxes() {
    const cameras = [...this.textures].filter(([name]) => name !== "text").sort(([a], [b]) => a - b);
    const aspects = cameras.reduce((sum, [, { width, height }]) => sum + width / height, 0);
    const height = (WIDE_M - GAP_M * (cameras.length - 1)) / Math.max(aspects, 1.2);
    const whole = aspects * height + GAP_M * (cameras.length - 1);
    let x = -whole / 2;
    const found = cameras.map(([name, panel]) => {
      const width = height * panel.width / panel.height, box = [x, DOWN_M - height / 2, width, height];
      x += width + GAP_M;
      return [name, box];
    });
    const high = TEXT_M * this.paper.height / this.paper.width;
    if (this.textures.has("text")) found.push(["text", [-TEXT_M / 2, DOWN_M - height / 2 - GAP_M - high, TEXT_M, high]]);
    return found;
  }

  draw(layer, pose) {
    const { gl } = this;
    if (!gl || !pose) return;
    gl.bindFramebuffer(gl.FRAMEBUFFER, layer.framebuffer);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    for (const view of pose.views) {
      const port = layer.getViewport(view);
      gl.viewport(port.x, port.y, port.width, port.height);
      gl.uniformMatrix4fv(this.at.view, false, view.transform.inverse.matrix);
      gl.uniformMatrix4fv(this.at.projection, false, view.projectionMatrix);
      for (const [name, box] of this.boxes()) {
        gl.bindTexture(gl.TEXTURE_2D, this.textures.get(name).texture);
        gl.uniform4fv(this.at.box, box);
        gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
      }
    }
  }
}
