// What is drawn with the mouse: a kernel, and a rectangle over the picture.
"use strict";

class Pad {
  constructor(canvas, size) {
    this.canvas = canvas;
    this.size = size;
    this.dirty = false;
    this.small = document.createElement("canvas");
    this.clear();
    size.addEventListener("change", () => this.clear());
    let last = null;
    const at = (e) => {
      const box = canvas.getBoundingClientRect();
      const n = this.small.width;
      return [((e.clientX - box.left) / box.width) * n, ((e.clientY - box.top) / box.height) * n];
    };
    canvas.addEventListener("pointerdown", (e) => { canvas.setPointerCapture(e.pointerId); last = at(e); this.line(last, last); });
    canvas.addEventListener("pointermove", (e) => { if (last) { const next = at(e); this.line(last, next); last = next; } });
    canvas.addEventListener("pointerup", () => { last = null; });
  }

  clear() {
    const n = Math.max(5, Math.min(99, Number(this.size.value) || 31));
    this.small.width = this.small.height = n;
    const paint = this.small.getContext("2d");
    paint.fillStyle = "#000";
    paint.fillRect(0, 0, n, n);
    this.dirty = false;
    this.show();
  }

  line(from, to) {
    const paint = this.small.getContext("2d");
    paint.strokeStyle = "#fff";
    paint.lineWidth = 1.5;
    paint.lineCap = "round";
    paint.beginPath();
    paint.moveTo(...from);
    paint.lineTo(to[0] + 0.01, to[1]);
    paint.stroke();
    this.dirty = true;
    this.show();
  }

  show() {
    const paint = this.canvas.getContext("2d");
    paint.imageSmoothingEnabled = false;
    paint.drawImage(this.small, 0, 0, this.canvas.width, this.canvas.height);
  }

  file() {
    return new Promise((done) => this.small.toBlob((blob) => done(new File([blob], "drawn.png")), "image/png"));
  }
}

// A rectangle over a picture, in the picture's own pixels; "auto" until one is drawn.
class Region {
  constructor(canvas, text) {
    this.canvas = canvas;
    this.text = text;
    this.picture = [1, 1];
    let from = null;
    const at = (e) => {
      const box = canvas.getBoundingClientRect();
      const clip = (v) => Math.max(0, Math.min(1, v));
      return [clip((e.clientX - box.left) / box.width) * this.picture[0], clip((e.clientY - box.top) / box.height) * this.picture[1]];
    };
    canvas.addEventListener("pointerdown", (e) => { canvas.setPointerCapture(e.pointerId); from = at(e); });
    canvas.addEventListener("pointermove", (e) => {
      if (!from) return;
      const to = at(e);
      const x = Math.floor(Math.min(from[0], to[0])), y = Math.floor(Math.min(from[1], to[1]));
      const w = Math.floor(Math.abs(to[0] - from[0])), h = Math.floor(Math.abs(to[1] - from[1]));
      this.text.value = w > 2 && h > 2 ? `${x},${y},${w},${h}` : "auto";
      this.show();
    });
    canvas.addEventListener("pointerup", () => { from = null; });
    text.addEventListener("input", () => this.show());
  }

  show() {
    const [w, h] = this.picture;
    this.canvas.width = w;
    this.canvas.height = h;
    const paint = this.canvas.getContext("2d");
    const at = this.text.value.split(",").map(Number);
    if (at.length !== 4 || at.some((v) => !Number.isFinite(v))) return;
    const thick = Math.max(1, Math.max(w, h) / 300);
    for (const [colour, width] of [["#000", 3 * thick], ["#fff", thick]]) {
      paint.strokeStyle = colour;
      paint.lineWidth = width;
      paint.strokeRect(...at);
    }
  }
}
