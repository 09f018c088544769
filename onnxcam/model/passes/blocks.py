"""Files that ONNX Runtime optimised for a CPU, put back into ONNX's layout: channels first.

At the level "all" it lays images out in blocks of channels, and quantised ones channels last. Both
are a matter of memory: which axis is which no shape tells, and a map would be of another picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnxcam.graph.contrib.blocked import BLOCK, BLOCKED, CHANNELS
from onnxcam.graph.contrib.definitions import MICROSOFT
from onnxcam.graph.emit import proto_shape
from onnxcam.graph.emit.walks import every_node
from onnxcam.model.passes.spelling import spelled
from onnxcam.model.weights import Weights, is_light

_LAST = "channels_last"


def in_onnx_layout(
    proto: ModelProto, weights: Weights, notes: list[str]
) -> tuple[ModelProto, Weights]:
    """Return a model without images in blocks or quantised images channels last.

    Args:
        proto: A light model at its final opset.
        weights: Its weights.
        notes: Where it is written down what was done.

    Raises:
        UnsupportedOp: A node in blocks does not say enough.
    """
    if any(map(has_channels_last, proto.graph.node)):
        proto = _channels_first(proto)
        notes.append("quantised operators with channels last put back to channels first")
    if not any(n.domain == BLOCKED for n in proto.graph.node):
        return proto, weights
    block = _block(proto, weights)
    out = ModelProto()
    out.CopyFrom(proto)
    _without_views(out)
    _mark(out, block)
    out, weights, _ = spelled(out, weights, lambda node: node.domain == BLOCKED)
    kept = [o for o in out.opset_import if o.domain != BLOCKED]
    del out.opset_import[:]
    out.opset_import.extend(kept)
    notes.append(f"images in blocks of {block} channels, as ONNX Runtime optimised it, put back")
    return out, weights


def has_channels_last(node: NodeProto) -> bool:
    """Tell whether a node is a quantised operator with channels last."""
    return node.domain == MICROSOFT and bool(_said(node, _LAST))


# ---- blocks of channels


def _block(proto: ModelProto, weights: Weights) -> int:
    """Return how many channels a block has: 8 or 16, which the file tells only here and there.

    Where it does not, it was written on a machine as this one, or ONNX Runtime could not run it.
    """
    told = set(_evidence(proto, weights))
    return told.pop() if len(told) == 1 else _block_here()


def _block_here() -> int:
    """Return the block of this machine: with AVX-512, or not x86 at all, it is 16."""
    try:
        features = import_module("numpy._core._multiarray_umath").__cpu_features__
    except (ImportError, AttributeError):  # NumPy does not promise to tell
        return 16
    return 8 if features.get("SSE2") and not features.get("AVX512F") else 16


def _evidence(proto: ModelProto, weights: Weights) -> Iterator[int]:
    """Yield what tells the size of a block."""
    tensors = {t.name: t for t in proto.graph.initializer}
    makers = {name: node for node in proto.graph.node for name in node.output}
    blocked = _in_blocks(proto)
    for node in proto.graph.node:
        if node.op_type == "Reshape" and node.input[0] in blocked:
            shape = tensors.get(node.input[1])
            if shape is not None and list(shape.dims) == [5]:
                yield int(numpy_helper.to_array(shape)[-1])
        if node.domain != BLOCKED:
            continue
        if node.op_type == "Conv":
            outputs, inputs, *_ = tensors[node.input[1]].dims
            if outputs % 16:
                yield 8
            if _said(node, "group", 1) == 1 and 8 <= inputs < 16:
                yield 8 if node.input[0] in blocked else 16
            if _is_padded(node, tensors, weights):
                yield 16
        maker = makers.get(node.input[0])
        if node.op_type == "ReorderOutput" and maker is not None and maker.op_type == "Conv":
            zeros = tensors[maker.input[1]].dims[0] - _said(node, CHANNELS, 0)
            yield from [16] * (zeros >= 8)


def _is_padded(node: NodeProto, tensors: dict[str, TensorProto], weights: Weights) -> bool:
    """Tell whether the last eight channels of a convolution are all zero, as only a 16 pads."""
    tensor = tensors[node.input[1]]
    values = weights.array(tensor) if is_light(tensor) else numpy_helper.to_array(tensor)
    if len(values) % 16:
        return False
    last = values.reshape(len(values) // 16, -1, 16)[-1, :, 8:]
    return not last.any()


def _in_blocks(proto: ModelProto) -> set[str]:
    """Return the tensors that lie in blocks, or in views of blocks."""
    found: set[str] = set()
    for node in proto.graph.node:
        if node.domain == BLOCKED:
            found.update(node.output if node.op_type != "ReorderOutput" else ())
        elif any(name in found for name in node.input):
            found.update(node.output)
    return found


def _without_views(proto: ModelProto) -> None:
    """Drop, in place, the Reshapes that show blocks as an axis of their own and back.

    They let arithmetic broadcast along blocks, which it does along channels as it is.
    """
    blocked = _in_blocks(proto)
    views = [n for n in proto.graph.node if n.op_type == "Reshape" and n.input[0] in blocked]
    for node in views:
        node.CopyFrom(helper.make_node("Identity", [node.input[0]], list(node.output)))
    if views:
        del proto.graph.value_info[:]  # some are of the views


def _mark(proto: ModelProto, block: int) -> None:
    """Write on the nodes, in place, what their definitions have to know."""
    readers: dict[str, list[NodeProto]] = {}
    for node in every_node(proto.graph):
        for name in node.input:
            readers.setdefault(name, []).append(node)
    ends = {v.name for v in proto.graph.output}
    for node in proto.graph.node:
        if node.domain != BLOCKED:
            continue
        node.attribute.append(helper.make_attribute(BLOCK, block))
        its = readers.get(node.output[0], [])
        left = {_said(n, CHANNELS, 0) for n in its if n.op_type == "ReorderOutput"}
        only = len(left) == 1 and all(n.op_type == "ReorderOutput" for n in its)
        if node.op_type == "Conv" and only and len(node.input) < 4 and node.output[0] not in ends:
            node.attribute.append(helper.make_attribute(CHANNELS, left.pop()))


# ---- channels last


def _channels_first(proto: ModelProto) -> ModelProto:
    """Return a model whose quantised operators take channels first, with Transposes around them."""
    out = ModelProto()
    out.CopyFrom(proto)
    taken = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    ranks = {v.name: len(proto_shape(v.type) or ()) for v in proto.graph.input}
    ranks |= {t.name: len(t.dims) for t in proto.graph.initializer}
    del out.graph.node[:], out.graph.value_info[:]
    firsts: dict[str, str] = {}  # channels last -> the same tensor channels first
    for node in proto.graph.node:
        if not has_channels_last(node):
            out.graph.node.append(node)
            continue
        rank = ranks.get(node.input[3], 4) if node.op_type == "QLinearConv" else 4
        x, y = node.input[0], node.output[0]
        if x not in firsts:
            firsts[x] = _fresh(f"{x}/channels_first", taken)
            perm = [0, rank - 1, *range(1, rank - 1)]
            out.graph.node.append(helper.make_node("Transpose", [x], [firsts[x]], perm=perm))
        plain = out.graph.node.add()
        plain.CopyFrom(node)
        plain.input[0] = firsts[x]
        firsts[y] = plain.output[0] = _fresh(f"{y}/channels_first", taken)
        plain.attribute.remove(next(a for a in plain.attribute if a.name == _LAST))
        if node.op_type == "QLinearConv":
            plain.domain = ""
        back = [0, *range(2, rank), 1]
        out.graph.node.append(helper.make_node("Transpose", [firsts[y]], [y], perm=back))
    return out


def _fresh(stem: str, taken: set[str]) -> str:
    name, number = stem, 0
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name)
    return name


def _said(node: NodeProto, name: str, default: Any = 0) -> Any:
    """Return an attribute of a node."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
