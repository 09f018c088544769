/**
 * Drive the page in a headless browser.
 *
 *     node test/drive.mjs BROWSER < visits.json > seen.json
 *
 * A visit is `{url, viewport?, steps?}`; a step is one of `{file: path}`,
 * `{model: path}`, `{drop: path}`, `{target: text}`, `{click: css}`, `{alpha: percent}`,
 * `{map: name}`, `{until: script}`, `{offline: true}` (which loads the page again), `{screenshot: path}`. What comes back for each visit is what the page showed when it was loaded
 * and after each step.
 */

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import process from "node:process";

import { chromium } from "playwright-core";

const OPTIONS = [
  ..."--disable-gpu --disable-quic --no-first-run --disable-background-networking".split(" "),
  ..."--disable-component-update --disable-sync".split(" "),
  "--use-fake-device-for-media-stream", // a green picture with a beep and a clock
  "--use-fake-ui-for-media-stream", // which is allowed
];
const SECONDS = 1000;

const settled = (page) =>
  page.waitForFunction(() => document.body.dataset.state !== "loading", null, {
    timeout: 60 * SECONDS,
  });

const STEPS = {
  file: (page, path) => page.setInputFiles("#file", path),
  model: (page, path) => page.setInputFiles("#model-file", path),
  target: async (page, text) => {
    await page.fill("#target", text);
    await page.press("#target", "Enter");
  },
  click: (page, css) => page.click(css),
  screenshot: (page, path) => page.screenshot({ path, fullPage: true }),
  map: (page, name) => page.selectOption("#which", name),
  until: (page, script) => page.waitForFunction(script, null, { timeout: 60 * SECONDS }),
  offline: async (page) => {
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => true));
    await page.context().setOffline(true);
    await page.reload();
  },
  alpha: (page, percent) => page.fill("#alpha", String(percent)),
  drop: (page, path) =>
    page.evaluate(
      ({ name, base64 }) => {
        const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], name));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
      },
      { name: basename(path), base64: readFileSync(path, "base64") },
    ),
};

/** What the page shows; arrays come as base64 of their bytes. */
function seen() {
  const base64 = (array) => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) {
      text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    }
    return btoa(text);
  };
  const text = (id) => document.getElementById(id).textContent.trim();
  const shown = globalThis.onnxcam;
  const canvas = document.getElementById("overlay");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return {
    state: document.body.dataset.state,
    label: text("label"),
    probability: text("probability"),
    top: [...document.querySelectorAll("#top button")].map((button) => button.innerText),
    facts: text("facts"),
    range: text("range"),
    ticks: ["low", "middle", "high"].map(text),
    alert: text("alert"),
    note: text("choose-note"),
    camera: document.body.dataset.camera ?? "off",
    rate: text("rate"),
    maps: [...document.querySelectorAll("#which option")].map((option) => option.value),
    choice: !document.getElementById("map-choice").hidden,
    described: canvas.getAttribute("aria-label"),
    isolated: globalThis.crossOriginIsolated,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    tensor: shown && { data: base64(shown.tensor.data), shape: shown.tensor.dims },
    box: shown?.tensor.box,
    map: shown && { data: base64(shown.map.data), shape: [shown.map.height, shown.map.width] },
    canvas: { data: base64(pixels.data), shape: [canvas.height, canvas.width, 4] },
  };
}

async function visit(browser, { url, viewport, steps = [] }) {
  const context = await browser.newContext({ viewport: viewport ?? { width: 1240, height: 900 } });
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  const requests = [];
  page.on("request", (request) => requests.push(`${request.method()} ${request.url()}`));
  const look = async () => ({
    ...(await page.evaluate(seen)),
    errors: errors.splice(0),
    requests: requests.splice(0),
  });
  await page.goto(url);
  await settled(page);
  const looks = [await look()];
  for (const step of steps) {
    const [[kind, value]] = Object.entries(step);
    await STEPS[kind](page, value);
    await page.waitForTimeout(60); // a job says "loading" in the next turn of the event loop
    await settled(page);
    looks.push(await look());
  }
  await context.close();
  return looks;
}

const visits = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({
  executablePath: process.argv[2],
  chromiumSandbox: false,
  args: OPTIONS,
});
try {
  const results = [];
  for (const one of visits) results.push(await visit(browser, one));
  process.stdout.write(JSON.stringify(results));
} finally {
  await browser.close();
}
