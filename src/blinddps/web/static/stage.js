// The stage: two pictures on top of each other, and how much of each is seen.
"use strict";

const $ = (id) => document.getElementById(id);

function beside(address, words) {
  $("before").src = address;
  $("before").alt = words;
  $("before").hidden = $("line").hidden = false;
  slide();
}

function slide() {
  const share = $("slider").value;
  $("before").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  $("line").style.left = `calc(${share}% - 1px)`;
}

// The whole picture in the room there is, small ones enlarged; or each pixel one of the screen's.
function fit() {
  const { naturalWidth: w, naturalHeight: h } = $("after");
  if (!w) return;
  const room = Math.min($("stage").clientWidth / w, (0.68 * innerHeight) / h);
  const scale = $("stage").classList.contains("full") ? 1 : Math.min(room, Math.max(1, 400 / Math.max(w, h)));
  $("after").style.width = `${w * scale}px`;
}

function full(on) {
  $("full").setAttribute("aria-pressed", String(on));
  $("stage").classList.toggle("full", on);
  $("stage").tabIndex = on ? 0 : -1; // arrows scroll it
  fit();
}
