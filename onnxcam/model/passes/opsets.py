"""Opset and IR versions: what a model has, and the way to others."""

from __future__ import annotations

import onnx.defs
import onnx.shape_inference
import onnx.version_converter
from onnx import ModelProto, helper

from onnxcam.errors import ModelError, UnsupportedOp
from onnxcam.graph import quirks
from onnxcam.graph.emit import proto_shape
from onnxcam.graph.emit.walks import STANDARD_DOMAINS, standard_opset
from onnxcam.model.passes.disguise import disguised, is_withdrawn, restored, withdrawn
from onnxcam.model.passes.lowering import lowered
from onnxcam.model.passes.raising import raised
from onnxcam.model.passes.site import Unraisable
from onnxcam.model.passes.spelling import spelled
from onnxcam.model.weights import Weights

TARGET_OPSET = 20
_MIN_IR = 9  # the IR version that came with opset 20


def opsets(proto: ModelProto) -> dict[str, int]:
    """Return opset versions by domain; the standard domain is ``""``."""
    return {"" if o.domain in STANDARD_DOMAINS else o.domain: o.version for o in proto.opset_import}


@quirks.works_around(quirks.LISTED_WEIGHTS)
def listed(proto: ModelProto) -> ModelProto:
    """List every weight as an input too, in place, as IR versions below 4 want it."""
    given = {v.name for v in proto.graph.input}
    for tensor in proto.graph.initializer if proto.ir_version < 4 else ():
        if tensor.name not in given:
            info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            proto.graph.input.append(info)
    return proto


def brought(
    proto: ModelProto, weights: Weights, notes: list[str], wanted: int, *, exactly: bool
) -> tuple[ModelProto, Weights]:
    """Bring a model to an opset.

    Args:
        proto: A light model.
        weights: Its weights.
        notes: Where it is written down what was done, or why not.
        wanted: The opset.
        exactly: Also from above, and an error where it cannot be; else it is kept as it is.

    Raises:
        ModelError: It cannot be brought exactly there.
    """
    if not any(o.domain in STANDARD_DOMAINS for o in proto.opset_import):
        proto.opset_import.add(domain="", version=wanted)  # for what is added to it
    opset = standard_opset(proto)
    if opset == wanted or (opset > wanted and not exactly):
        return proto, weights
    converted = _converted(proto, weights, wanted, notes)
    if not isinstance(converted, str):
        notes.append(f"{'raised' if opset < wanted else 'brought'} from opset {opset} to {wanted}")
        return converted
    if exactly:
        raise ModelError(
            f"the model cannot be brought from opset {opset} to {wanted}: {converted}",
            f"name another opset; that of the model is {opset}",
        )
    notes.append(f"kept at opset {opset}: {converted}")
    return proto, weights


def _converted(
    proto: ModelProto, weights: Weights, opset: int, notes: list[str]
) -> tuple[ModelProto, Weights] | str:
    """Return the model at another opset, or the reason why not."""
    if opset > onnx.defs.onnx_opset_version():
        return f"the newest that is known is {onnx.defs.onnx_opset_version()}"
    try:
        if opset < standard_opset(proto):
            lower = _down(proto, opset)
            return lower if isinstance(lower, str) else (lower, weights)
        return _up(proto, weights, opset, notes)
    except (
        RuntimeError,
        Unraisable,
        UnsupportedOp,
        onnx.version_converter.ConvertError,
        onnx.shape_inference.InferenceError,
    ) as error:
        line = " ".join(str(error).split())[:200]
        return line.rpartition("Assertion `false` failed: ")[2]


def _down(proto: ModelProto, opset: int) -> ModelProto | str:
    stuck = withdrawn(proto)
    if stuck:
        return f"ONNX withdrew {', '.join(stuck)}"
    converted = lowered(proto, opset)
    if _interface(converted) != _interface(proto):
        return "onnx's converter would change inputs or outputs"
    return converted


def _up(
    proto: ModelProto, weights: Weights, opset: int, notes: list[str]
) -> tuple[ModelProto, Weights] | str:
    """Return the model at a newer opset, with what ONNX withdrew written in standard operators."""
    converted = raised(proto, opset)
    if withdrawn(converted):
        converted, weights, names = spelled(restored(converted), weights, is_withdrawn)
        disguised(converted)
        notes.append(f"withdrawn operators written in standard ones: {', '.join(names)}")
    stuck = withdrawn(converted)
    return f"ONNX withdrew {', '.join(stuck)}" if stuck else (converted, weights)


def _interface(proto: ModelProto) -> list[tuple[str, int | None]]:
    """Return the names and ranks of the inputs and outputs."""
    shapes = [(v.name, proto_shape(v.type)) for v in [*proto.graph.input, *proto.graph.output]]
    return [(name, None if shape is None else len(shape)) for name, shape in shapes]


def modern_ir(proto: ModelProto, notes: list[str], *, exactly: bool) -> ModelProto:
    """Raise the IR version; before version 4 weights had to be listed as inputs too.

    An opset that was asked for gets its own: a runtime of its time refuses files of later ones.
    """
    old = proto.ir_version
    if old < 4:
        weights = {t.name for t in proto.graph.initializer}
        inputs = [v for v in proto.graph.input if v.name not in weights]
        del proto.graph.input[:]
        proto.graph.input.extend(inputs)
    wanted = _MIN_IR if standard_opset(proto) >= TARGET_OPSET else 4
    if exactly:
        own = helper.find_min_ir_version_for(list(proto.opset_import), ignore_unknown=True)
        wanted = max(int(own), 4)
    if old < wanted or exactly:
        proto.ir_version = wanted
    if old < wanted:
        notes.append(f"raised from IR version {old} to {wanted}")
    return proto
