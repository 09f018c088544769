/**
 * Resampling along one axis, as the Python side does it: Pillow's antialiased filters in their
 * whole-number arithmetic, cubic convolution and area means in float64.
 *
 * Every filter is a list of taps, one for each sample of the result: `{first, weights}`, the
 * weights of the input samples first, first + 1, ...
 */

const BITS = 22; // of Pillow's fixed-point weights: a sum of 255 times them fits in 32 bits

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** Keys' cubic convolution with a = -0.5, for x >= 0. */
function keys(x) {
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

const PILLOW = {
  bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - x) },
  bicubic: { reach: 2, weight: keys },
  lanczos: { reach: 3, weight: (x) => (x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** Taps of a Pillow filter by its name; the weights are whole numbers with 22 binary places. */
export function pillowTaps(from, to, name) {
  if (name === "nearest") return nearestTaps(from, to);
  const { reach, weight } = PILLOW[name];
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = reach * stretch;
  return Array.from({ length: to }, (_, at) => {
    const centre = (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const raw = Array.from({ length: last - first }, (_, k) =>
      weight(Math.abs((first + k - centre + 0.5) / stretch)),
    );
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, weights: raw.map((w) => fixed(w / sum)) };
  });
}

/** A number with 22 binary places, halves away from zero. */
const fixed = (x) => Math.trunc(x * 2 ** BITS + 0.5 * Math.sign(x));

/** Taps of Pillow's nearest filter, which adds up its steps. */
function nearestTaps(from, to) {
  const step = from / to;
  let centre = step * 0.5;
  return Array.from({ length: to }, () => {
    const first = Math.trunc(centre);
    centre += step;
    return { first, weights: [2 ** BITS] };
  });
}

/** Taps of cubic convolution: half-pixel centres, borders repeated, no antialiasing. */
export function cubicTaps(from, to) {
  return Array.from({ length: to }, (_, at) => {
    const centre = ((at + 0.5) * from) / to - 0.5;
    const first = Math.max(0, Math.floor(centre) - 1);
    const last = Math.min(from - 1, Math.floor(centre) + 2);
    const weights = new Array(last - first + 1).fill(0);
    for (let i = Math.floor(centre) - 1; i <= Math.floor(centre) + 2; i++) {
      weights[Math.min(Math.max(i, first), last) - first] += keys(Math.abs(centre - i));
    }
    return { first, weights };
  });
}

/** Taps of area means, for fewer samples than there are. */
export function meanTaps(from, to) {
  return Array.from({ length: to }, (_, at) => {
    const [low, high] = [(at * from) / to, ((at + 1) * from) / to];
    const first = Math.floor(low);
    const raw = Array.from({ length: Math.min(from, Math.ceil(high)) - first }, (_, k) =>
      Math.max(0, Math.min(high, first + k + 1) - Math.max(low, first + k)),
    );
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, weights: raw.map((w) => w / sum) };
  });
}

/** Resample eight-bit samples [outer, n, inner] to [outer, taps, inner]. */
export function alongBytes(data, outer, inner, taps) {
  const out = new Uint8ClampedArray(outer * taps.length * inner);
  const half = 2 ** (BITS - 1);
  return along(data, outer, inner, taps, out, (sum) => (sum + half) >> BITS);
}

/** Resample numbers [outer, n, inner] to float64 [outer, taps, inner]. */
export function alongNumbers(data, outer, inner, taps) {
  const out = new Float64Array(outer * taps.length * inner);
  return along(data, outer, inner, taps, out, (sum) => sum);
}

function along(data, outer, inner, taps, out, finish) {
  const length = data.length / (outer * inner);
  let place = 0;
  for (let o = 0; o < outer; o++) {
    for (const { first, weights } of taps) {
      const start = (o * length + first) * inner;
      for (let i = 0; i < inner; i++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += data[start + k * inner + i] * weights[k];
        out[place++] = finish(sum);
      }
    }
  }
  return out;
}
