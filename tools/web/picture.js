/**
 * Pictures and the model's input tensor, number for number as `onnxcam.preprocess` makes it.
 *
 * A picture is `{width, height, channels, data}` with eight bits a channel, row by row.
 */

import { alongBytes, pillowTaps } from "./resample.js";

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  int32: Int32Array,
};
const MOST_PIXELS = 2 ** 27; // of a resized picture: a strip grows along with its short side
const WHOLE = { uint8: [0, 255], int8: [-128, 127], uint16: [0, 65535], int16: [-32768, 32767] };

/** What a person can do something about: message and next step. */
export class PageError extends Error {
  constructor(message, hint = "") {
    super(hint ? `${message}. ${hint}.` : `${message}.`);
  }
}

/** Round as Python does: halves to the even number. */
export function round(x) {
  const up = Math.round(x);
  return Math.abs(x % 1) === 0.5 && up % 2 ? up - 1 : up;
}

/**
 * Decode an image file: upright RGB, colour profile ignored, transparency laid on white.
 *
 * @param {Blob} blob
 * @param {string} name for messages
 */
export async function decode(blob, name) {
  if (blob.size === 0) throw new PageError(`${name} is empty (0 bytes)`, "Choose another file");
  let bitmap;
  try {
    const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
    bitmap = await createImageBitmap(blob, { ...options, imageOrientation: "from-image" });
  } catch {
    throw new PageError(
      `${name} is no picture that this browser can read`,
      "Choose a PNG, JPEG, WebP, GIF or BMP file",
    );
  }
  const { width, height } = bitmap;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  if (!context) throw new PageError(`${name} has ${width} x ${height} pixels: too many`);
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const data = new Uint8ClampedArray(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4) {
    data[to++] = rgba[from];
    data[to++] = rgba[from + 1];
    data[to++] = rgba[from + 2];
  }
  return { width, height, channels: 3, data };
}

/** Resize with one of Pillow's filters: "bilinear", "bicubic", "lanczos", "nearest". */
export function resize(picture, width, height, filter) {
  let { data } = picture;
  const { channels } = picture;
  if (width !== picture.width) {
    data = alongBytes(data, picture.height, channels, pillowTaps(picture.width, width, filter));
  }
  if (height !== picture.height) {
    data = alongBytes(data, 1, width * channels, pillowTaps(picture.height, height, filter));
  }
  return { width, height, channels, data };
}

/**
 * Turn a picture into the input tensor.
 *
 * @param picture RGB
 * @param spec the description: `onnxcam.input.*` of the model, all fields filled in
 * @returns {{data, dims: number[], box: number[]}} box: left, top, right, bottom of the part of
 *   the picture that the tensor shows, in its pixels; beyond its edges where that is filled up
 */
export function prepare(picture, spec) {
  const [width, height] = resizedSize(picture, spec);
  if (width * height > MOST_PIXELS) {
    throw new PageError(
      `The picture would be resized from ${picture.width} x ${picture.height} to ` +
        `${width} x ${height} pixels`,
      "Crop it to a usual shape first",
    );
  }
  const [left, top, right, bottom] = cropBox(width, height, spec.size);
  const image = spec.channels === "GRAY" ? gray(picture) : picture;
  const resized = resize(image, width, height, spec.interpolation);
  const seen = crop(resized, left, top, right - left, bottom - top);
  const [x, y] = [picture.width / width, picture.height / height];
  return { ...layOut(seen, spec), box: [left * x, top * y, right * x, bottom * y] };
}

/** Width and height that a picture is brought to before the crop. */
function resizedSize({ width, height }, spec) {
  const pixels = spec.resize_size;
  if (spec.resize === "none") return [width, height];
  if (spec.resize === "stretch") {
    const [down, across] = pixels ? [pixels, pixels] : (spec.size ?? [height, width]);
    return [across, down];
  }
  const longer = Math.trunc((pixels * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? [pixels, longer] : [longer, pixels];
}

/** Left, top, right, bottom of the centre crop; beyond the edges where the image is smaller. */
function cropBox(width, height, size) {
  const [down, across] = size ?? [height, width];
  const left = start(width, across);
  const top = start(height, down);
  return [left, top, left + across, top + down];
}

const start = (length, wanted) =>
  wanted > length ? -Math.floor((wanted - length) / 2) : round((length - wanted) / 2);

/** Luminance in Pillow's whole numbers. */
function gray({ width, height, data }) {
  const luma = new Uint8ClampedArray(width * height);
  for (let i = 0, at = 0; i < luma.length; i++, at += 3) {
    luma[i] = (data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471 + 32768) >> 16;
  }
  return { width, height, channels: 1, data: luma };
}

/** Cut a part out; what lies beyond the edges is black. */
function crop(image, left, top, width, height) {
  const { channels } = image;
  const data = new Uint8ClampedArray(width * height * channels);
  const from = Math.max(left, 0);
  const to = Math.min(left + width, image.width);
  for (let y = Math.max(top, 0); y < Math.min(top + height, image.height); y++) {
    const row = image.data.subarray(
      (y * image.width + from) * channels,
      (y * image.width + to) * channels,
    );
    data.set(row, ((y - top) * width + from - left) * channels);
  }
  return { width, height, channels, data };
}

/** Scale the pixels, `(pixel * scale - mean) / std`, and put them in the tensor's layout. */
function layOut(image, spec) {
  const { width, height, channels, data } = image;
  const sizes = { N: 1, C: channels, H: height, W: width };
  const strides = { C: 0 };
  const dims = [...spec.layout].map((letter) => sizes[letter]);
  [...spec.layout].reverse().reduce((step, letter) => {
    strides[letter] = step;
    return step * sizes[letter];
  }, 1);
  const tensor = emptyTensor(spec.dtype, data.length);
  const of = (values, c) => values[values.length > 1 ? c : 0];
  for (let c = 0; c < channels; c++) {
    const source = spec.channels === "BGR" ? channels - 1 - c : c;
    const [mean, std] = [of(spec.mean, c), of(spec.std, c)];
    const values = Float64Array.from({ length: 256 }, (_, p) => (p * spec.scale - mean) / std);
    if (spec.dtype in WHOLE) checkRange(values, WHOLE[spec.dtype], spec.dtype);
    for (let y = 0, at = source; y < height; y++) {
      const row = c * strides.C + y * strides.H;
      for (let x = 0; x < width; x++, at += channels) {
        tensor[row + x * strides.W] = values[data[at]];
      }
    }
  }
  return { data: tensor, dims };
}

function emptyTensor(dtype, length) {
  if (!(dtype in ARRAYS)) {
    throw new PageError(
      `The model's input is ${dtype}, which this page cannot make`,
      `It makes ${Object.keys(ARRAYS).join(", ")}`,
    );
  }
  return new ARRAYS[dtype](length);
}

function checkRange(values, [low, high], dtype) {
  if (Math.min(...values) < low || Math.max(...values) > high) {
    throw new PageError(
      `The model's description makes pixels numbers that ${dtype} cannot hold`,
      "Correct scale and mean in the sidecar and convert the model again",
    );
  }
}
