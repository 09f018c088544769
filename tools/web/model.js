/** An explained model: one ONNX file that returns its prediction and its heatmap. */

import { inputDescription, readMetadata } from "./metadata.js";
import { PageError } from "./picture.js";

const [TARGET, MAP, CLASS] = ["onnxcam.target", "onnxcam.map", "onnxcam.class"];
const TOP = -1;

/**
 * Load ONNX Runtime Web.
 *
 * @param {number} threads 0: as many as the page may have
 */
export async function loadRuntime(threads) {
  let ort;
  try {
    ort = await import("onnxruntime-web");
  } catch {
    throw new PageError("ONNX Runtime Web did not load", "Run npm ci in tools/web and reload");
  }
  // Threads need shared memory, which browsers give to cross-origin isolated pages only.
  const most = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  ort.env.wasm.numThreads = threads ? Math.min(threads, most) : most;
  return ort;
}

/**
 * @typedef {object} Result
 * @property {Float32Array} scores of the classes: probabilities, or raw where there are none
 * @property {boolean} probabilities which of the two
 * @property {number} target the class that the map explains
 * @property {Object<string, {data: Float32Array, width: number, height: number}>} maps raw, by name
 * @property {number} milliseconds
 */

/** A session, and what the file says of itself. */
export class ExplainedModel {
  /**
   * Load an explained model.
   *
   * @param ort ONNX Runtime Web
   * @param {Uint8Array} bytes the file
   * @param {string} name for messages
   */
  static async load(ort, bytes, name) {
    if (bytes.length === 0) throw new PageError(`${name} is empty (0 bytes)`);
    let metadata, session;
    try {
      metadata = readMetadata(bytes);
      const options = { executionProviders: ["wasm"], logSeverityLevel: 3 };
      session = await ort.InferenceSession.create(bytes, options);
    } catch (error) {
      throw new PageError(`${name} is no model that ONNX Runtime can load: ${reason(error)}`);
    }
    return new ExplainedModel(ort, session, metadata, name);
  }

  constructor(ort, session, metadata, name) {
    Object.assign(this, { ort, session, metadata, name });
    this.maps = mapsOf(session.outputNames, metadata);
    if (!this.maps.length) {
      throw new PageError(
        `${name} is a model, but not an explained one: it has no output ${MAP}`,
        `Explain it first: python tools/web/make_demo.py ${name}`,
      );
    }
    this.spec = inputDescription(metadata);
    if (!this.spec) {
      throw new PageError(
        `${name} does not say how a picture becomes its input (no onnxcam.input.* metadata)`,
        "Convert it with its sidecar .toml beside it",
      );
    }
    if (!this.spec.pictures || !this.spec.layout) {
      throw new PageError(`${name} takes ready arrays, no pictures`, "Use onnxcam in Python");
    }
    const inputs = session.inputNames.filter((input) => input !== TARGET);
    if (inputs.length !== 1) {
      throw new PageError(`${name} has ${inputs.length} inputs (${inputs.join(", ")}), not one`);
    }
    [this.input] = inputs;
    this.labels = this.spec.labels ?? [];
    // An input with a default is out of reach: ONNX Runtime Web lists required inputs only.
    this.canChoose = session.inputNames.includes(TARGET);
  }

  /** Name of a class. */
  label(index) {
    return this.labels[index] ?? `class ${index}`;
  }

  /**
   * Predict and explain.
   *
   * @param {{data, dims: number[]}} prepared the input tensor
   * @param {number|null} target class; null: the top class
   * @returns {Promise<Result>}
   */
  async run(prepared, target) {
    const { Tensor } = this.ort;
    const feeds = { [this.input]: new Tensor(this.spec.dtype, prepared.data, prepared.dims) };
    if (this.canChoose) {
      feeds[TARGET] = new Tensor("int64", BigInt64Array.of(BigInt(target ?? TOP)), [1]);
    }
    const begin = performance.now();
    let outputs;
    try {
      outputs = await this.session.run(feeds);
    } catch (error) {
      throw new PageError(`${this.name} does not run: ${reason(error)}`);
    }
    return {
      ...this.#scores(outputs),
      target: Number(outputs[CLASS].data[0]),
      maps: Object.fromEntries(this.maps.map(({ name, output }) => [name, plane(outputs[output])])),
      milliseconds: performance.now() - begin,
    };
  }

  /** The scores: logits are turned into probabilities by a softmax, as the Python side does. */
  #scores(outputs) {
    const reduction = this.metadata["onnxcam.reduction_layer"];
    const own = Object.keys(outputs).filter((name) => !name.startsWith("onnxcam."));
    const name = own.includes(reduction) ? reduction : own[0];
    const values = Float32Array.from(outputs[name].data);
    if (values.length === 1) return { scores: values, probabilities: false };
    const sum = values.reduce((a, b) => a + b, 0);
    const ready = values.every((p) => p >= 0 && p <= 1) && Math.abs(sum - 1) < 1e-3;
    if (ready || name !== reduction) return { scores: values, probabilities: true };
    return { scores: softmax(values), probabilities: true };
  }
}

/**
 * What a file explains with: one map, or one for each method and layer.
 *
 * @returns {{name, output, method, layer, signed}[]} signed: undefined where the file does not say
 */
function mapsOf(outputs, metadata) {
  if (outputs.includes(MAP)) {
    const said = metadata["onnxcam.signed"];
    const [method, layer] = ["method", "feature_layer"].map((key) => metadata[`onnxcam.${key}`]);
    const signed = said === undefined ? undefined : said === "true";
    return [{ name: method ?? "map", output: MAP, method, layer, signed }];
  }
  const several = JSON.parse(metadata["onnxcam.maps"] ?? "[]");
  return several
    .map(({ name, method, feature_layer: layer, signed }) => {
      return { name, output: `${MAP}.${name}`, method, layer, signed };
    })
    .filter(({ output }) => outputs.includes(output));
}

/** The map of the first input and target: [1, 1, height, width] -> a plane. */
function plane({ data, dims }) {
  if (dims.length !== 4) {
    throw new PageError(`The map has the shape [${dims}]: not one that fits on a picture`);
  }
  const [, , height, width] = dims;
  return { data: data.slice(0, width * height), width, height };
}

function softmax(values) {
  const most = Math.max(...values);
  const powers = Float64Array.from(values, (value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return Float32Array.from(powers, (power) => power / sum);
}

/** The first line of what the runtime says. */
const reason = (error) => String(error?.message ?? error).split("\n")[0];
