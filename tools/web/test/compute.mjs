/**
 * Run the page's arithmetic without a page.
 *
 *     node test/compute.mjs < jobs.json > results.json
 *
 * A job is `{prepare: {picture, spec}}` or `{overlay: {picture, map, box, colours, alpha}}`.
 * Arrays are `{data, shape}`, their bytes in base64: pictures uint8 [H, W, 3], maps float32 [h, w].
 */

import { readFileSync } from "node:fs";
import process from "node:process";

import { extremes, levels, overlay } from "../heatmap.js";
import { prepare } from "../picture.js";

const bytes = ({ data }) => Buffer.from(data, "base64");
const base64 = ({ buffer, byteOffset, byteLength }) =>
  Buffer.from(buffer, byteOffset, byteLength).toString("base64");
const picture = (array) => ({
  data: new Uint8ClampedArray(bytes(array)),
  height: array.shape[0],
  width: array.shape[1],
  channels: 3,
});

const JOBS = {
  prepare(job) {
    const { data, dims, box } = prepare(picture(job.picture), job.spec);
    return { data: base64(data), shape: dims, box };
  },
  overlay(job) {
    const [height, width] = job.map.shape;
    const map = { data: new Float32Array(Uint8Array.from(bytes(job.map)).buffer), height, width };
    const below = picture(job.picture);
    const signed = extremes(map)[0] < 0;
    const shown = levels(below, map, job.box, signed);
    const drawn = overlay(below, shown, Uint8Array.from(bytes(job.colours)), job.alpha, signed);
    return { data: base64(drawn.data), shape: [below.height, below.width, 4] };
  },
};

const results = JSON.parse(readFileSync(0, "utf8")).map((job) => {
  const [[kind, value]] = Object.entries(job);
  try {
    return JOBS[kind](value);
  } catch (error) {
    return { error: error.message };
  }
});
process.stdout.write(JSON.stringify(results));
