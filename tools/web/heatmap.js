/** Maps over pictures, pixel for pixel as `onnxcam.render.overlay` draws them. */

import { round } from "./picture.js";
import { alongNumbers, cubicTaps, meanTaps } from "./resample.js";

/**
 * Bring a map [height, width] to another size: cubic convolution, as `onnxcam.upsample` does.
 *
 * @returns {{data: Float32Array, width: number, height: number}}
 */
export function upsample(map, width, height) {
  return resampled(map, width, height, cubicTaps);
}

function resampled(map, width, height, taps) {
  let { data } = map;
  if (height !== map.height) data = alongNumbers(data, 1, map.width, taps(map.height, height));
  if (width !== map.width) data = alongNumbers(data, height, 1, taps(map.width, width));
  return { data: Float32Array.from(data), width, height };
}

/** Bring a map to a size: area means where it is larger, then cubic convolution. */
function atSize(map, width, height) {
  const smaller = [Math.min(map.width, width), Math.min(map.height, height)];
  return upsample(resampled(map, ...smaller, meanTaps), width, height);
}

/** Smallest and largest value of a map. */
export function extremes({ data }) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of data) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** The raw values at the ends of the colour bar: 0 to the largest, or both signs alike. */
export function limits(map, signed) {
  const [low, high] = extremes(map);
  return signed ? [-Math.max(high, -low), Math.max(high, -low)] : [0, Math.max(high, 0)];
}

/**
 * Scale a map for display over a picture.
 *
 * @param picture `{width, height}`
 * @param map raw values, finite
 * @param {number[]} box the part of the picture that the map covers: left, top, right, bottom
 * @param {boolean} signed whether 0 is in the middle
 * @returns {{left, top, right, bottom, data: Float32Array}} levels in 0..1 (-1..1 when signed) of
 *   the covered pixels
 */
export function levels(picture, map, box, signed) {
  const [x0, y0, x1, y1] = box.map(round);
  const [left, top] = [Math.max(x0, 0), Math.max(y0, 0)];
  const [right, bottom] = [Math.min(x1, picture.width), Math.min(y1, picture.height)];
  const [low, high] = limits(map, signed);
  const whole = atSize(map, x1 - x0, y1 - y0);
  const data = new Float32Array((right - left) * (bottom - top));
  let place = 0;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const value = whole.data[(y - y0) * whole.width + x - x0];
      const unit = high > low ? (Math.min(Math.max(value, low), high) - low) / (high - low) : 0;
      data[place++] = signed && high > low ? 2 * unit - 1 : unit;
    }
  }
  return { left, top, right, bottom, data };
}

/**
 * Blend a map's colours into the part of a picture that it covers; the rest becomes dark gray.
 *
 * @param picture RGB
 * @param shown what `levels` returned
 * @param {Uint8Array} colours RGB, `[257, 3]`
 * @param {number} alpha share of the colour, 0 to 1
 * @param {boolean} signed whether the share also follows the level, so that 0 leaves the picture
 * @returns {{data: Uint8ClampedArray, width, height}} RGBA
 */
export function overlay(picture, shown, colours, alpha, signed) {
  const { width, height } = picture;
  const rgba = dimmed(picture);
  const steps = colours.length / 3 - 1;
  let place = 0;
  for (let y = shown.top; y < shown.bottom; y++) {
    for (let x = shown.left; x < shown.right; x++) {
      const level = shown.data[place++];
      const share = signed ? alpha * Math.sqrt(Math.abs(level)) : alpha;
      const colour = 3 * round(steps * (signed ? 0.5 * (level + 1) : level));
      const pixel = y * width + x;
      for (let c = 0; c < 3; c++) {
        const below = picture.data[3 * pixel + c];
        rgba[4 * pixel + c] = below + share * (colours[colour + c] - below);
      }
    }
  }
  return { data: rgba, width, height };
}

/** The picture in dark gray, RGBA: it sets off what the map does not cover. */
function dimmed({ data, width, height }) {
  const rgba = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let from = 0, to = 0; from < data.length; from += 3, to += 4) {
    const luma = 0.299 * data[from] + 0.587 * data[from + 1] + 0.114 * data[from + 2];
    rgba[to] = rgba[to + 1] = rgba[to + 2] = 0.45 * luma;
  }
  return rgba;
}
