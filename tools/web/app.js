/**
 * The page: choose a model and a picture, see what the model says and where it looked.
 *
 * Parameters of the address: `model` and `picture` (names in the demo), `target` (class name or
 * number), `threads`. What is on the page can be read from `window.onnxcam`, for scripts.
 */

import { Camera, possible } from "./camera.js";
import { ExplainedModel, loadRuntime } from "./model.js";
import { PageError, decode, prepare } from "./picture.js";
import * as view from "./view.js";

const { $ } = view;
const SIGNED_COLOURS = "bluered";
const parameters = new URLSearchParams(location.search);

const page = {
  ort: null,
  models: [], // {name, url}
  pictures: [], // {name, url}
  colours: {}, // name -> Uint8Array [257 * 3]
  model: null, // ExplainedModel
  photo: null, // {name, picture, shown}
  result: null,
  prepared: null,
  heat: null,
  which: null, // name of the map that is shown
  target: null, // class that was asked for, null for the top class
  camera: null, // Camera, while it is on
  paused: false,
};

let queue = Promise.resolve();

/** Do one thing after the other, say what goes on, and show what went wrong. */
function job(text, work) {
  queue = queue.then(async () => {
    view.showState("loading", text);
    await new Promise((resume) => setTimeout(resume, 20)); // the text is painted first
    try {
      await work();
      view.showState("ready");
    } catch (error) {
      if (!(error instanceof PageError)) console.error(error);
      view.showState("error", error.message);
    }
  });
  return queue;
}

async function fetched(url, name) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new PageError(`${name} cannot be fetched`, "Is the server still running?");
  }
  if (!response.ok) throw new PageError(`${name} cannot be fetched (${response.status})`);
  return response.blob();
}

/** The entry of the name that the address says, or the first. */
const asked = (list, kind) =>
  list.find((item) => item.name === parameters.get(kind)) ?? list[0];

/** Say that the address asks for what the demo does not have. */
function checkAsked(list, kind) {
  const name = parameters.get(kind);
  if (name === null || list.some((item) => item.name === name)) return;
  throw new PageError(`The demo has no ${kind} "${name}"`, `It has ${names(list).join(", ")}`);
}

/** Read a class from its name, its number, or "name (number)" as the list offers it. */
function classOf(text, model) {
  const wanted = text.trim();
  if (!wanted) return null;
  const numbered = wanted.match(/^(\d+)$/) ?? wanted.match(/\((\d+)\)$/);
  const index = numbered ? Number(numbered[1]) : model.labels.indexOf(wanted);
  const count = page.result.scores.length;
  if (index >= 0 && index < count) return index;
  throw new PageError(
    `This model has no class "${wanted}"`,
    `Choose one of the list, or a number from 0 to ${count - 1}`,
  );
}

async function openModel(item) {
  const bytes = new Uint8Array(await (await fetched(item.url, item.name)).arrayBuffer());
  const model = await ExplainedModel.load(page.ort, bytes, item.name);
  await page.model?.session.release();
  page.model = model;
  if (!page.models.includes(item)) page.models.push(item);
  page.target = null;
  if (!model.maps.some(({ name }) => name === page.which)) page.which = model.maps[0].name;
  view.showMaps(model, page.which);
  view.showClasses(model);
}

async function openPicture(item) {
  const picture = await decode(await fetched(item.url, item.name), item.name);
  page.photo = { name: item.name, picture, shown: view.toShow(picture) };
  if (!page.pictures.includes(item)) page.pictures.push(item);
  view.showPictures(page.pictures, item, choosePicture);
}

/** Run the model on the picture for a class (null: the top class) and show all of it. */
async function explain(target) {
  const { model, photo } = page;
  if (!model || !photo) return;
  const prepared = prepare(photo.picture, model.spec);
  const result = await model.run(prepared, target);
  Object.assign(page, { prepared, result, target });
  view.showAnswer(model, result);
  view.showTop(model, result, chooseTarget);
  $("save").disabled = false;
  showMap();
}

/** Show one of the maps that the last run made. */
function showMap() {
  const { model, photo, prepared, result } = page;
  const made = model.maps.find(({ name }) => name === page.which);
  page.heat = view.heatmap(photo, model, prepared, result.maps[made.name], made.signed);
  view.showFacts(model, made, prepared, result, page.ort.env.wasm.numThreads);
  view.describe(model, result, photo.name, page.heat);
  draw();
}

/** Explain what the camera sees, frame by frame, each in its turn with what else is to be done. */
async function live() {
  const { camera } = page;
  while (page.camera === camera && !page.paused) {
    queue = queue.then(async () => {
      if (page.camera !== camera || page.paused) return;
      const picture = camera.frame();
      page.photo = { name: "camera", picture, shown: picture };
      try {
        await explain(page.target);
        view.showCamera("live", camera.shown());
      } catch (error) {
        stopCamera();
        view.showState("error", error.message);
      }
    });
    await queue;
    await new Promise((resume) => requestAnimationFrame(resume));
  }
}

function switchCamera() {
  if (page.camera) return stopCamera();
  return job("Asking for the camera …", async () => {
    page.camera = await Camera.on();
    page.paused = false;
    view.showCamera("live");
    view.showPictures(page.pictures, null, choosePicture);
    live();
  });
}

function stopCamera() {
  page.camera?.off();
  page.camera = null;
  view.showCamera("off");
}

function pauseCamera() {
  page.paused = !page.paused;
  view.showCamera(page.paused ? "paused" : "live");
  if (!page.paused) live();
}

/** Draw the overlay and its colour bar with the strength and the colours chosen. */
function draw() {
  const { photo, heat, prepared, result } = page;
  if (!heat) return;
  $("colours").disabled = heat.signed;
  const colours = page.colours[heat.signed ? SIGNED_COLOURS : $("colours").value];
  const overlay = view.drawOverlay(photo.shown, heat, colours, $("alpha").valueAsNumber / 100);
  view.drawBar(heat, colours);
  globalThis.onnxcam = { tensor: prepared, map: result.maps[page.which], result, overlay };
}

function chooseModel(item) {
  job(`Loading ${item.name} …`, async () => {
    try {
      await openModel(item);
    } finally {
      view.showChoices($("model"), names(page.models), page.model?.name);
    }
    await explain(null);
  });
}

function choosePicture(item) {
  stopCamera();
  job(`Looking at ${item.name} …`, async () => {
    await openPicture(item);
    await explain(null);
  });
}

function chooseTarget(index) {
  job(`Explaining ${page.model.label(index)} …`, () => explain(index));
}

/** Open a file that a person chose or dropped: a model by its ending, else a picture. */
function chooseFile(file) {
  if (!file || !page.ort) return;
  const item = { name: file.name, url: URL.createObjectURL(file) };
  (/\.onnx$/i.test(file.name) ? chooseModel : choosePicture)(item);
}

const names = (list) => list.map((item) => item.name);

async function loadDemo() {
  const hint = "Write it with python tools/web/make_demo.py MODEL.onnx and reload";
  const response = await fetch("demo/demo.json").catch(() => null);
  if (!response?.ok) throw new PageError("There is no demo here yet", hint);
  const demo = await response.json();
  const item = (name) => ({ name, url: `demo/${encodeURIComponent(name)}` });
  page.models = demo.models.map(item);
  page.pictures = demo.pictures.map(item);
  for (const [name, hex] of Object.entries(demo.colormaps)) {
    page.colours[name] = Uint8Array.from(hex.match(/../g), (byte) => Number.parseInt(byte, 16));
  }
  const sequential = Object.keys(page.colours).filter((name) => name !== SIGNED_COLOURS);
  view.showChoices($("colours"), sequential, sequential[0]);
  view.showPictures(page.pictures, null, choosePicture);
}

async function start() {
  await loadDemo();
  page.ort = await loadRuntime(Number(parameters.get("threads")));
  const [model, picture] = [asked(page.models, "model"), asked(page.pictures, "picture")];
  view.showChoices($("model"), names(page.models), model.name);
  await Promise.all([openModel(model), openPicture(picture)]);
  await explain(null);
  checkAsked(page.models, "model");
  checkAsked(page.pictures, "picture");
  if (parameters.has("target")) await explain(classOf(parameters.get("target"), page.model));
}

function listen() {
  $("alpha").addEventListener("input", draw);
  $("colours").addEventListener("change", draw);
  $("which").addEventListener("change", ({ target }) => {
    page.which = target.value;
    showMap();
  });
  $("camera").addEventListener("click", switchCamera);
  $("pause").addEventListener("click", pauseCamera);
  $("camera-row").hidden = !possible();
  $("model").addEventListener("change", ({ target }) =>
    chooseModel(page.models.find((item) => item.name === target.value)),
  );
  for (const id of ["file", "model-file"]) {
    $(id).addEventListener("change", ({ target }) => {
      chooseFile(target.files[0]);
      target.value = ""; // the same file again is a change, too
    });
  }
  $("choose").addEventListener("submit", (event) => {
    event.preventDefault();
    job("Explaining …", () => explain(classOf($("target").value, page.model)));
  });
  $("save").addEventListener("click", () => {
    $("overlay").toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${page.photo.name.replace(/\.\w+$/, "")}.onnxcam.png`;
      link.click();
      URL.revokeObjectURL(link.href);
    });
  });
  for (const [kind, dropping] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", dropping);
      if (kind === "drop") chooseFile(event.dataTransfer.files[0]);
    });
  }
}

listen();
job("Loading …", start);
navigator.serviceWorker?.register("worker.js").catch(() => {}); // without it the page needs its server
