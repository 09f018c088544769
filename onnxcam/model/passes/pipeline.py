"""The passes that every model goes through when it is loaded, in their order."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import onnx.shape_inference
from onnx import ModelProto, TensorProto, helper
from onnx.inliner import inline_local_functions

from onnxcam.errors import ModelError
from onnxcam.graph.emit.walks import STANDARD_DOMAINS, standard_opset
from onnxcam.model.passes.blocks import has_channels_last, in_onnx_layout
from onnxcam.model.passes.budgets import asked, within
from onnxcam.model.passes.dense import written_out
from onnxcam.model.passes.disguise import annotated, disguised, restored
from onnxcam.model.passes.guard import refuse_negative
from onnxcam.model.passes.lift import lift_weights
from onnxcam.model.passes.mending import mended, stated
from onnxcam.model.passes.opsets import TARGET_OPSET, brought, listed, modern_ir
from onnxcam.model.passes.pools import fill_windows
from onnxcam.model.passes.raising import has_other_opsets, raised_functions
from onnxcam.model.passes.sequences import unlisted
from onnxcam.model.passes.shapes import infer_shapes, put_right
from onnxcam.model.passes.site import Unraisable
from onnxcam.model.passes.spoken import utf8
from onnxcam.model.weights import Weights

_KNOWN = ("ai.onnx", "com.microsoft", "com.ms.")  # domains that runtimes have operators of
_COUNTED = 19  # the opset from which on an AveragePool does not count what is not even padding


@dataclass(frozen=True)
class Made:
    """What the passes made of a model.

    Attributes:
        light: The model.
        weights: Its weights.
        notes: What was done to it and what could not be done.
        before: The model as it was read, with the weights that it had then, where a pass wrote it
            otherwise in a way that only running both can confirm; else None.
    """

    light: ModelProto
    weights: Weights
    notes: list[str]
    before: ModelProto | None


def prepared(proto: ModelProto, weights: Weights, name: str, opset: int | None) -> Made:
    """Return a model as all else wants it, and what was done to it.

    Args:
        proto: A light model as it was read; it is changed.
        weights: Its weights.
        name: What to call it in messages.
        opset: See :func:`onnxcam.model.model.load`.

    Raises:
        ModelError: It is invalid, or it cannot be brought to ``opset``.
    """
    within(proto)
    written = utf8(proto)
    notes = mended(proto)
    if written:
        notes.append("names and texts that are no UTF-8 written with the numbers of their bytes")
    before = disguised(proto)
    light, converted = _levelled(before)
    _check(light, name)
    light = _inlined(light, notes)
    sparse = written_out(light.graph)
    if sparse:
        notes.append(f"{sparse} sparse weights written out")
    refuse_negative(light, name)
    lifted = lift_weights(light)
    if lifted:
        notes.append(f"{lifted} weights moved from subgraphs to the main graph")
    own = weights
    light, weights = brought(
        listed(light), weights, notes, opset or TARGET_OPSET, exactly=opset is not None
    )
    light = modern_ir(light, notes, exactly=opset is not None)
    light, weights = in_onnx_layout(restored(light), weights, notes)
    turned = any(map(has_channels_last, before.graph.node))
    doubtful = converted or turned or weights is not own or _is_contested(before)
    light = _inferred(light, notes)
    if unlisted(light):
        notes.append("sequences of known tensors written as the tensors")
        doubtful, light = True, _inferred(light, notes)
    if standard_opset(before) < _COUNTED <= standard_opset(light) and fill_windows(light):
        notes.append("average pools with windows larger than their input padded")
    return Made(light, weights, notes, restored(before) if doubtful else None)


def _check(light: ModelProto, name: str) -> None:
    """Run onnx's checker; detached weights stand in as inputs, which need no bytes."""
    proto = ModelProto()
    proto.CopyFrom(light)
    proto.ir_version = max(proto.ir_version, 4)  # see versions.listed
    graph = proto.graph
    inputs = {v.name for v in graph.input}
    kept = [t for t in graph.initializer if t.data_location != TensorProto.EXTERNAL]
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL and tensor.name not in inputs:
            info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            graph.input.append(info)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    stated([*graph.input, *graph.output])
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ModelError(
            f"{name}: not a valid ONNX model ({_line(error)})", "export it again"
        ) from None


def _levelled(proto: ModelProto) -> tuple[ModelProto, bool]:
    """Return a model whose functions are at its opset, and whether onnx has to convert them yet."""
    if not has_other_opsets(proto):
        return proto, False
    try:
        return raised_functions(proto), False
    except Unraisable:
        return proto, True


def _is_contested(proto: ModelProto) -> bool:
    """Tell whether a runtime may compute something else than a function's own nodes say.

    It may have an operator of the function's name, or read its nodes at the model's opset.
    """
    known = (f.domain in STANDARD_DOMAINS or f.domain.startswith(_KNOWN) for f in proto.functions)
    return any(known) or has_other_opsets(proto)


def _inlined(proto: ModelProto, notes: list[str]) -> ModelProto:
    if not proto.functions:
        return proto
    notes.append(f"{len(proto.functions)} model-local functions inlined")
    written = inline_local_functions(proto, convert_version=True)
    asked(written)
    return written


def _inferred(proto: ModelProto, notes: list[str]) -> ModelProto:
    known: ModelProto | None = proto
    try:
        notes.extend(put_right(proto))
        while known is not None:
            proto = infer_shapes(known)
            known = annotated(proto)
    except onnx.shape_inference.InferenceError as error:
        notes.append(f"shape inference failed: {_line(error)}")
    return proto


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
