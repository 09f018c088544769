/** What the page shows: it reads results and writes to the document, nothing else. */

import { extremes, levels, limits, overlay, upsample } from "./heatmap.js";
import { resize } from "./picture.js";

const TOP = 5;
const LONGEST = 1280; // pixels: larger pictures are shown smaller, and explained as they are

export const $ = (id) => document.getElementById(id);

/** A raw value in three digits. */
const number = (value) => String(Number(value.toPrecision(3)));

/** A score as people read it. */
function score({ scores, probabilities }, index) {
  if (!probabilities) return number(scores[index]);
  const percent = 100 * scores[index];
  return percent > 0 && percent < 0.05 ? "< 0.1 %" : `${percent.toFixed(1)} %`;
}

/** Make an element with a text. */
function element(tag, text, properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: text, ...properties });
}

/** The picture at the size it is shown in, and the size that its `box` then has. */
export function toShow(picture) {
  const ratio = Math.min(1, LONGEST / Math.max(picture.width, picture.height));
  if (ratio === 1) return picture;
  const [width, height] = [picture.width, picture.height].map((n) => Math.round(n * ratio));
  return resize(picture, width, height, "bilinear");
}

/**
 * What is drawn: the map at the input's size, and its levels over the picture.
 *
 * @param {{picture, shown}} photo the picture and `toShow(picture)`
 * @param model the ExplainedModel
 * @param prepared what `prepare` returned
 * @param made the map, of those that `ExplainedModel.run` returned
 * @param {boolean|undefined} said whether it is signed, where the file says so
 */
export function heatmap({ picture, shown }, model, prepared, made, said) {
  const { layout } = model.spec;
  const finite = made.data.map((value) => (Number.isFinite(value) ? value : 0));
  const raw = { ...made, data: finite };
  const map = upsample(
    raw,
    prepared.dims[layout.indexOf("W")],
    prepared.dims[layout.indexOf("H")],
  );
  const signed = said ?? isSigned(model, raw);
  const [x, y] = [shown.width / picture.width, shown.height / picture.height];
  const [left, top, right, bottom] = prepared.box;
  const box = [left * x, top * y, right * x, bottom * y];
  const drawn = levels(shown, map, box, signed);
  const whole = drawn.data.length === shown.width * shown.height;
  return { raw, map, signed, levels: drawn, whole };
}

/**
 * Whether a map speaks for and against its class. One that was made larger within the graph may
 * have small negative values beside its peaks: cubic convolution undershoots, by up to 9/32.
 */
function isSigned(model, raw) {
  const [low, high] = extremes(raw);
  const enlarged = (model.metadata["onnxcam.upsampling"] ?? "none") !== "none";
  return low < (enlarged ? -high / 3 : 0);
}

/** Draw picture and map; return what was drawn. */
export function drawOverlay(shown, heat, colours, alpha) {
  const drawn = overlay(shown, heat.levels, colours, alpha, heat.signed);
  const canvas = $("overlay");
  [canvas.width, canvas.height] = [drawn.width, drawn.height];
  const image = new ImageData(drawn.data, drawn.width, drawn.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return drawn;
}

/** Draw the colour bar with the raw values that its ends stand for. */
export function drawBar(heat, colours) {
  const steps = colours.length / 3;
  const image = new ImageData(steps, 1);
  for (let i = 0; i < steps; i++) image.data.set([...colours.slice(3 * i, 3 * i + 3), 255], 4 * i);
  $("ramp").getContext("2d").putImageData(image, 0, 0);
  const [low, high] = limits(heat.map, heat.signed);
  $("low").textContent = number(low);
  $("middle").textContent = high > low ? number((low + high) / 2) : "";
  $("high").textContent = high > low ? number(high) : "";
  $("range").textContent = rangeText(heat, low, high);
  $("bar").hidden = false;
}

/** The raw range in words, with what looks wrong. */
function rangeText({ raw, map, whole }, low, high) {
  if (low === high) {
    return "The map is zero everywhere: nothing at this layer speaks for this class.";
  }
  const [least, most] = extremes(map);
  const range = `Raw map from ${number(least)} to ${number(most)}`;
  const cut = whole ? "" : " Gray: cut off before the model saw it.";
  return `${range}, made at ${raw.width} × ${raw.height}.${cut}`;
}

/** Say which class is explained, and how sure the model is of it. */
export function showAnswer(model, result) {
  const best = result.scores.indexOf(Math.max(...result.scores));
  const several = result.scores.length > 1;
  const why = result.target === best ? "The model sees" : "Where it would see";
  $("kicker").textContent = several ? why : "The model says";
  $("label").textContent = model.label(result.target);
  $("probability").textContent = score(result, result.target);
}

/**
 * List the most probable classes.
 *
 * @param {(index: number) => void} choose called with the class that is clicked
 */
export function showTop(model, result, choose) {
  const order = [...result.scores.keys()].sort((a, b) => result.scores[b] - result.scores[a]);
  const items = order.slice(0, TOP).map((index) => {
    const button = element("button", "", { type: "button", disabled: !model.canChoose });
    button.append(element("span", model.label(index)), element("span", score(result, index)));
    const share = result.probabilities ? result.scores[index] : 0;
    button.style.setProperty("--share", `${100 * share}%`);
    button.setAttribute("aria-pressed", String(index === result.target));
    button.addEventListener("click", () => choose(index));
    const item = element("li", "");
    item.append(button);
    return item;
  });
  $("top").replaceChildren(...items);
  $("top-title").textContent = result.probabilities ? "Most probable" : "Score";
}

/** Describe picture and peak to those who do not see them. */
export function describe(model, result, name, { raw }) {
  const peak = raw.data.indexOf(extremes(raw)[1]);
  const [x, y] = [(peak % raw.width) + 0.5, Math.floor(peak / raw.width) + 0.5];
  const percent = (part, whole) => `${Math.round((100 * part) / whole)} %`;
  $("overlay").setAttribute(
    "aria-label",
    `${name} with the heatmap of ${model.label(result.target)}, strongest ` +
      `${percent(x, raw.width)} from the left and ${percent(y, raw.height)} from the top ` +
      "of the part that the model saw",
  );
}

/** List how the result came about. */
export function showFacts(model, { method, layer }, prepared, result, threads) {
  const facts = {
    Method: method,
    "Feature layer": layer,
    Input: `${model.input} ${model.spec.dtype} [${prepared.dims.join(", ")}]`,
    Run: `${result.milliseconds.toFixed(0)} ms on ${threads} thread${threads > 1 ? "s" : ""}`,
  };
  const rows = Object.entries(facts).filter(([, value]) => value);
  $("facts").replaceChildren(...rows.flatMap(([k, v]) => [element("dt", k), element("dd", v)]));
}

/** Fill in the classes that can be searched. */
export function showClasses(model) {
  const names = model.labels.map((label, i) => `${label} (${i})`);
  const options = names.map((value) => element("option", "", { value }));
  $("classes").replaceChildren(...options);
  for (const control of $("choose").querySelectorAll("input, button")) {
    control.disabled = !model.canChoose;
  }
  $("target").value = "";
  $("choose").hidden = model.canChoose && model.labels.length === 1;
  $("choose-note").textContent = model.canChoose
    ? ""
    : "This model's target has a default, which ONNX Runtime Web cannot override: " +
      "only the top class is explained.";
}

/** Show thumbnails of the pictures; `choose` is called with the one that is clicked. */
export function showPictures(pictures, current, choose) {
  const buttons = pictures.map((picture) => {
    const button = element("button", "", { type: "button", title: picture.name });
    button.append(Object.assign(new Image(), { src: picture.url, alt: picture.name }));
    button.setAttribute("aria-pressed", String(picture === current));
    button.addEventListener("click", () => choose(picture));
    return button;
  });
  $("samples").replaceChildren(...buttons);
}

/** Fill a select with names, the current one chosen. */
export function showChoices(select, names, current) {
  select.replaceChildren(...names.map((name) => new Option(name, name, false, name === current)));
}

/** Offer the maps of a file, where it has several. */
export function showMaps(model, current) {
  showChoices($("which"), model.maps.map(({ name }) => name), current);
  $("map-choice").hidden = model.maps.length < 2;
}

/**
 * Show how the camera is: "off", "live" or "paused", and how many frames a second are explained.
 *
 * While it is live the answer changes too often to be read out.
 */
export function showCamera(state, rate = 0) {
  document.body.dataset.camera = state;
  $("camera").textContent = state === "off" ? "Use the camera" : "Stop the camera";
  $("camera").setAttribute("aria-pressed", String(state !== "off"));
  $("pause").hidden = state === "off";
  $("pause").textContent = state === "paused" ? "Go on" : "Pause";
  $("rate").hidden = state === "off";
  $("rate").textContent = state === "paused" ? "Paused" : `${rate.toFixed(1)} frames a second`;
  $("verdict").setAttribute("aria-live", state === "live" ? "off" : "polite");
}

/** Show what goes on: "loading", "ready" or "error", with its text. */
export function showState(state, text = "") {
  document.body.dataset.state = state;
  $("status").textContent = state === "loading" ? text : "";
  if (state === "loading") return;
  $("alert").hidden = state !== "error";
  $("alert").textContent = state === "error" ? text : "";
}
