// The page: brings files, asks for restorations, shows how they go and what came of them.
"use strict";

const state = { options: null, uploads: [], job: null, jobs: new Map(), polling: false, before: "" };
const pad = new Pad($("pad"), $("pad-size"));
const region = new Region($("region"), $("region-text"));

async function ask(path, options = {}) {
  const answer = await fetch(path, options);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error || `the page's server says ${answer.status}`);
  return body;
}

function fail(error) { $("error").textContent = error ? error.message || String(error) : ""; }

function make(tag, text, properties = {}) {
  return Object.assign(document.createElement(tag), text === null ? {} : { textContent: text }, properties);
}

// ---- controls

function control(one) {
  const label = make("label", null);
  const id = `option-${one.name}`;
  label.htmlFor = id;
  const words = one.flag.replace(/^--/, "").replaceAll("-", " ");
  label.append(make("span", words[0].toUpperCase() + words.slice(1), { title: one.flag }));
  let input;
  if (one.is_flag) {
    input = make("input", null, { type: "checkbox", checked: one.default === "true" });
  } else if (one.among.length) {
    input = make("select", null);
    for (const word of one.among) input.append(make("option", word, { value: word, selected: word === one.default }));
  } else {
    input = make("input", null, { value: one.default, placeholder: one.metavar, maxLength: 40 });
  }
  input.id = id;
  label.append(input, make("span", one.help, { className: "small" }));
  return label;
}

function drawControls() {
  const offered = state.options.kinds[$("kind").value];
  $("few").replaceChildren(...offered.filter((o) => o.few).map(control));
  $("more-controls").replaceChildren(...offered.filter((o) => !o.few && o.name !== "region").map(control));
  $("known").hidden = $("kind").value !== "deblur";
  showRegion();
}

function chosen() {
  const found = {};
  for (const one of state.options.kinds[$("kind").value]) {
    const input = $(`option-${one.name}`);
    if (input) found[one.name] = one.is_flag ? String(input.checked) : input.value;
  }
  if ($("kind").value === "deblur" && !$("region-row").hidden) found.region = $("region-text").value.trim() || "auto";
  return found;
}

function usePreset(name) {
  const preset = state.options.presets[name];
  $("kind").value = preset.kind;
  drawControls();
  for (const [key, value] of Object.entries(preset.options)) {
    const input = $(`option-${key}`);
    if (input && input.type === "checkbox") input.checked = value === "true";
    else if (input) input.value = value;
  }
  $("preset-about").textContent = preset.about;
  for (const button of $("presets").children) button.setAttribute("aria-pressed", String(button.textContent === name));
}

// ---- files in

async function bring(files) {
  fail();
  $("restore").disabled = true; // else it would restore what was there before
  const kind = $("kind").value;
  const list = [...files];
  const groups = kind === "turbulence" ? [list] : list.map((f) => [f]);
  const fresh = [];
  for (const group of groups) {
    let id = "";
    try {
      for (const file of group) {
        if (file.size > state.options.bytes) throw new Error(`${file.name} is larger than ${Math.round(state.options.bytes / 1e6)} MB`);
        status(`Sending ${file.name} ...`);
        id = (await ask(`uploads?name=${encodeURIComponent(file.name)}&more=${id}`, { method: "POST", body: file })).id;
      }
      status("Reading ...");
      const about = await ask(`uploads/${id}/read?kind=${kind}`, { method: "POST" });
      fresh.push({ ...about, id, kind });
    } catch (error) {
      fail(new Error(`${group[0].name}: ${error.message}`));
    }
  }
  if (!fresh.length) {
    $("restore").disabled = !state.uploads.length;
    return status(state.uploads.length ? "" : "No picture yet.");
  }
  state.uploads = fresh;
  state.job = null;
  showUpload();
}

function showUpload() {
  const first = state.uploads[0];
  const many = state.uploads.length > 1 ? ` and ${state.uploads.length - 1} more pictures` : first.files > 1 ? ` and ${first.files - 1} more frames` : "";
  status(`${first.name}${many}: ${first.width} x ${first.height} pixels. ${(first.notes || []).join(". ")}`);
  $("stage").hidden = false;
  $("after").src = `uploads/${first.id}/preview.png`;
  $("after").alt = `The picture as it was brought: ${first.name}`;
  for (const id of ["before", "line", "slide", "going"]) $(id).hidden = true;
  $("told").hidden = true;
  full(false);
  region.picture = [first.width, first.height];
  $("region-text").value = "auto";
  showRegion();
  $("restore").disabled = false;
}

function showRegion() {
  const can = state.uploads.length === 1 && !state.job && $("kind").value === "deblur";
  $("region").hidden = $("region-row").hidden = !can;
  if (can) region.show();
}

// ---- restorations

async function restore() {
  fail();
  $("restore").disabled = true;
  try {
    let kernel = null;
    const own = $("known").open ? $("kernel-file").files[0] || (pad.dirty ? await pad.file() : null) : null;
    if ($("known").open && $("kind").value === "deblur" && !own) {
      throw new Error("give the kernel as a file or draw it; or close 'The blur is known'");
    }
    if (own && $("kind").value === "deblur") {
      kernel = (await ask(`uploads?name=${encodeURIComponent(own.name)}`, { method: "POST", body: own })).id;
    }
    let first = null;
    for (const upload of state.uploads) {
      const asked = { kind: $("kind").value, upload: upload.id, kernel, options: chosen() };
      const job = await ask("jobs", { method: "POST", body: JSON.stringify(asked) });
      state.jobs.set(job.id, job);
      first = first || job;
    }
    show(first);
    if (innerWidth <= 700) $("see").scrollIntoView(); // below what was asked
    poll();
  } catch (error) { fail(error); }
  $("restore").disabled = !state.uploads.length;
}

async function poll() {
  if (state.polling) return;
  state.polling = true;
  try {
    for (;;) {
      const jobs = await ask("jobs");
      state.jobs = new Map(jobs.map((job) => [job.id, job]));
      const open = jobs.filter((job) => job.state === "waiting" || job.state === "running");
      if (state.job && !open.some((job) => job.id === state.job.id) && open.length && state.job.state !== "done") {
        show(open[0]); // the next of several pictures
      } else if (state.job) show(state.jobs.get(state.job.id));
      drawGallery();
      if (!open.length) break;
      await new Promise((done) => setTimeout(done, 600));
    }
  } catch (error) { fail(error); }
  state.polling = false;
}

function status(text) { $("status").textContent = text; }

function seconds(n) { return n < 100 ? `${n} seconds` : `${Math.round(n / 60)} minutes`; }

function show(job) {
  if (!job) return;
  const known = state.job && state.job.id === job.id ? state.job : null;
  state.job = job;
  const open = job.state === "waiting" || job.state === "running";
  $("cancel").disabled = !open || job.unwanted;
  $("progress").hidden = !open;
  $("region").hidden = $("region-row").hidden = true;
  if (open) {
    $("told").hidden = $("slide").hidden = $("before").hidden = $("line").hidden = true;
    if (job.of) $("progress").value = job.step / job.of;
    else $("progress").removeAttribute("value");
    const left = job.left === null ? "" : `, about ${seconds(job.left)} left of this part`;
    status(job.unwanted ? `${job.name}: ending ...` : job.state === "waiting" ? `${job.name} waits; ${job.ahead} before it.`
      : job.of ? `${job.name}: step ${job.step} of ${job.of}${left}` : `${job.name}: beginning ...`);
    if (job.shown && (!known || known.shown !== job.shown)) {
      $("stage").hidden = false;
      $("after").src = `jobs/${job.id}/shown/running.png?${job.shown}`;
      $("after").alt = `The picture of ${job.name} on its way`;
      $("going").src = `jobs/${job.id}/shown/running_kernel.png?${job.shown}`;
      $("going").alt = "The kernel on its way";
      $("going").hidden = false;
    }
    return;
  }
  $("going").hidden = true;
  if (known && known.state === job.state) return;
  if (job.state === "done") return showResult(job);
  status(job.state === "cancelled" ? `${job.name}: cancelled.` : `${job.name} failed.`);
  if (job.state === "failed") fail(new Error(job.message));
  if (state.uploads.length) { state.job = null; showUpload(); status(job.state === "cancelled" ? "Cancelled." : "It failed."); }
}

function showResult(job) {
  const result = job.result;
  status(`${job.name}: ${result.said}`);
  $("stage").hidden = $("slide").hidden = !result.views;
  if (result.views) {
    $("after").src = `jobs/${job.id}/shown/after.png`;
    $("after").alt = `${job.name}, restored`;
    beside(`jobs/${job.id}/shown/before.png`, `${job.name}, before`);
    const others = [...state.jobs.values()].filter((j) => j.id !== job.id && j.state === "done" && j.result.views);
    $("versus").replaceChildren(make("option", "the input", { value: job.id + "/shown/before.png" }),
      ...others.map((j) => make("option", `${j.name}: ${j.result.said}`, { value: j.id + "/shown/after.png" })));
    $("versus-label").hidden = !others.length;
  }
  $("told").hidden = false;
  $("verdict").textContent = result.said;
  const fine = { restored: "good", finished: "" }[result.status]; // finished: nothing judged it
  $("verdict").className = fine === undefined ? "bad" : fine;
  $("message").textContent = fine === undefined && !result.said.includes(result.message) ? result.message : "";
  drawn("kernel", job, "_kernel.png", "The blur kernel, enlarged: light is where a point of the scene was smeared to");
  $("kernel-about").textContent = job.kernel ? "The kernel that was given"
    : result.point ? "No blur was found: a single point" : "The kernel found";
  drawn("spread", job, "_restored_std.png", "Map of the picture: pale where the samples differ much, dark where they agree");
  drawn("kernel-spread", job, "_kernel_std.png", "Map of the kernel: light where the samples' kernels differ");
  const spread = result.spread;
  $("spread-about").textContent = spread ? `Where the ${spread.draws} samples differ: pale is the prior's guess, dark is told by the picture. `
    + (spread.factors ? "About 90 % of true pixels lie in the interval" : "Not calibrated for this prior: the interval is too narrow")
    + `; it is ${(100 * spread.width).toFixed(1)} % of white wide on average.` : "";
  $("notes").replaceChildren(...result.notes.map((note) => make("li", note)));
  const residual = result.residual === null ? "" : `, residual ${result.residual.toFixed(2)} x noise (small does not mean right)`;
  $("facts").textContent = `${result.seconds.toFixed(1)} seconds${residual}${result.region ? `, kernel found on ${result.region.join(",")}` : ""}`;
  const names = [...result.files, ...(job.kernel ? [job.kernel] : [])];
  $("files").replaceChildren(...names.map((name) => {
    const item = make("li", null);
    item.append(make("a", name, { href: `jobs/${job.id}/files/${encodeURIComponent(name)}`, download: name }));
    return item;
  }));
  $("command").replaceChildren(...job.command.split(" ").flatMap((word) => [make("span", word), " "]).slice(0, -1));
}

function drawn(id, job, end, words) {
  const name = job.result.files.find((one) => one.endsWith(end));
  $(id).parentElement.hidden = !name;
  if (!name) return;
  $(id).src = `jobs/${job.id}/files/${encodeURIComponent(name)}`;
  $(id).alt = words;
}

function drawGallery() {
  const done = [...state.jobs.values()].filter((job) => job.state === "done");
  $("gallery").hidden = !done.length;
  const key = done.map((job) => job.id).join();
  if ($("results").dataset.key === key) return;
  $("results").dataset.key = key;
  $("results").replaceChildren(...done.map((job) => {
    const item = make("li", null);
    const button = make("button", null, { type: "button" });
    if (job.result.views) button.append(make("img", null, { src: `jobs/${job.id}/shown/small.png`, alt: "" }));
    button.append(make("span", `${job.name}: ${job.result.said}`, { className: "small" }));
    button.addEventListener("click", () => { state.job = null; fail(); show(job); });
    item.append(button);
    return item;
  }));
}

// ---- begin

async function begin() {
  state.options = await ask("options");
  for (const name of Object.keys(state.options.presets)) {
    const button = make("button", name, { type: "button" });
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => usePreset(name));
    $("presets").append(button);
  }
  for (const [name, file] of Object.entries(state.options.examples)) {
    const button = make("button", `a blurred ${name}`, { type: "button" });
    button.addEventListener("click", async () => {
      usePreset(name === "face" ? "Face" : "Phone shake");
      const picture = await (await fetch(`examples/${name}.png`)).blob();
      await bring([new File([picture], file)]);
    });
    $("examples").append(button);
  }
  drawControls();
  $("file").addEventListener("change", async () => { await bring($("file").files); $("file").value = ""; });
  $("kind").addEventListener("change", () => { drawControls(); });
  for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    $("drop").addEventListener(event, (e) => {
      e.preventDefault();
      $("drop").classList.toggle("over", over);
      if (event === "drop") bring(e.dataTransfer.files);
    });
  }
  $("restore").addEventListener("click", restore);
  $("cancel").addEventListener("click", () => ask(`jobs/${state.job.id}/cancel`, { method: "POST" }).then(show, fail));
  $("after").addEventListener("load", fit);
  addEventListener("resize", fit);
  $("slider").addEventListener("input", slide);
  $("full").addEventListener("click", () => full(!$("stage").classList.contains("full")));
  $("versus").addEventListener("change", () => beside(`jobs/${$("versus").value}`, "The other picture"));
  $("region-auto").addEventListener("click", () => { $("region-text").value = "auto"; region.show(); });
  $("pad-clear").addEventListener("click", () => pad.clear());
  $("copy").addEventListener("click", () => {
    getSelection().selectAllChildren($("command"));
    navigator.clipboard?.writeText($("command").textContent).catch(() => {});
  });
  await poll();
  if (state.jobs.size) drawGallery();
}

begin().catch(fail);
