/**
 * The service worker: the page works without a network once it was loaded with one.
 *
 * What is asked for comes from the server while there is one, so that nothing is ever stale, and is
 * kept; without a server comes what was kept.
 */

const KEPT = "onnxcam-page";
const RUNTIME = "node_modules/onnxruntime-web/dist/";
const PAGE = [
  "./",
  "app.js",
  "camera.js",
  "heatmap.js",
  "metadata.js",
  "model.js",
  "picture.js",
  "resample.js",
  "style.css",
  "view.js",
  `${RUNTIME}ort.wasm.bundle.min.mjs`,
  `${RUNTIME}ort-wasm-simd-threaded.wasm`,
  "demo/demo.json",
];

/** Fetch and keep; what is not there is left out. */
async function keep(cache, url) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) return null;
  await cache.put(url, response.clone());
  return response;
}

async function keepAll() {
  const cache = await caches.open(KEPT);
  const kept = await Promise.all(PAGE.map((url) => keep(cache, url)));
  const demo = await kept.at(-1)?.json();
  const names = [...(demo?.models ?? []), ...(demo?.pictures ?? [])];
  await Promise.all(names.map((name) => keep(cache, `demo/${encodeURIComponent(name)}`)));
}

async function answer(request) {
  const cache = await caches.open(KEPT);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const found = await cache.match(request, { ignoreSearch: request.mode === "navigate" });
    if (found) return found;
    throw error;
  }
}

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(keepAll());
});
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const own = new URL(request.url).origin === self.location.origin;
  if (request.method === "GET" && own) event.respondWith(answer(request));
});
