// node run.mjs explained.onnx      (npm install onnxruntime-node)
import * as ort from "onnxruntime-node";

const session = await ort.InferenceSession.create(process.argv[2]);
const input = session.inputNames.find((name) => !name.startsWith("onnxcam."));
const x = new ort.Tensor("float32", new Float32Array(3 * 224 * 224), [1, 3, 224, 224]);
const target = new ort.Tensor("int64", BigInt64Array.of(-1n), [1]); // -1: the top class

const feeds = { [input]: x };
if (session.inputNames.includes("onnxcam.target")) feeds["onnxcam.target"] = target;
const found = await session.run(feeds);
console.log("class", Number(found["onnxcam.class"].data[0]), "map", found["onnxcam.map"].dims);
