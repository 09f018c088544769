/** The `metadata_props` of an ONNX file, which ONNX Runtime Web does not hand out. */

const METADATA_PROPS = 14; // fields of ModelProto and of StringStringEntryProto
const [KEY, VALUE] = [1, 2];
const text = new TextDecoder();

/**
 * Read the metadata of a model.
 *
 * @param {Uint8Array} bytes the file
 * @returns {Object<string, string>}
 * @throws {RangeError} the bytes are no protobuf message
 */
export function readMetadata(bytes) {
  const metadata = {};
  for (const [field, value] of fields(bytes)) {
    if (field !== METADATA_PROPS) continue;
    const entry = new Map(fields(value));
    metadata[text.decode(entry.get(KEY))] = text.decode(entry.get(VALUE));
  }
  return metadata;
}

/**
 * The input description in a model's metadata: field -> value.
 *
 * @returns {Object|null} null where the model says nothing
 */
export function inputDescription(metadata) {
  const prefix = "onnxcam.input.";
  const said = Object.entries(metadata).filter(([key]) => key.startsWith(prefix));
  if (!said.length) return null;
  const field = ([key, json]) => [key.slice(prefix.length), JSON.parse(json)];
  return Object.fromEntries(said.map(field));
}

/** Yield the fields of a protobuf message, [number, bytes]; numbers without bytes are left out. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    for (let value = 0, unit = 1; at < bytes.length; unit *= 128) {
      const byte = bytes[at++];
      value += (byte % 128) * unit;
      if (byte < 128) return value;
    }
    throw new RangeError("the file ends within a number");
  };
  const lengths = { 0: () => (varint(), 0), 1: () => 8, 2: varint, 5: () => 4 };
  while (at < bytes.length) {
    const tag = varint();
    const length = lengths[tag % 8]?.();
    if (length === undefined || at + length > bytes.length) {
      throw new RangeError("it is no ONNX file, or not a whole one");
    }
    if (tag % 8 === 2) yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
    at += length;
  }
}
