"""Transposed convolutions whose output shape is said: with the pads that the runtime gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx.shape_inference
from onnx import ModelProto, NodeProto, helper

from onnxcam.graph import quirks
from onnxcam.graph.emit import Dim
from onnxcam.graph.emit.walks import STANDARD_DOMAINS, every_node


@quirks.works_around(quirks.SHRINKING_CONV_TRANSPOSE)
def write_out_shapes(
    proto: ModelProto, made: Callable[[ModelProto], dict[str, list[Dim] | None]]
) -> list[str]:
    """Give transposed convolutions the pads with which their output has the size that is said.

    That is an ``output_shape`` below the input's, or the kept size beside an output padding.

    Args:
        proto: A model; it is changed. What has an input or weights of unknown size stays.
        made: Returns the shapes that the operators of a model make, by the names of the tensors.

    Returns:
        The names of the outputs of the nodes that were changed.
    """
    changed: list[str] = []
    while nodes := [n for n in every_node(proto.graph) if _says_shape(n)]:
        try:
            shapes = made(proto)
        except onnx.shape_inference.InferenceError:
            break
        shapes.update({t.name: list(t.dims) for t in proto.graph.initializer})
        sizes = ((n, [_sizes(shapes.get(name)) for name in n.input[:2]]) for n in nodes)
        known = [(n, made_of) for n, both in sizes if all(both) and (made_of := _settled(n, *both))]
        if not known:
            break
        # The shapes behind it are wrong until it is settled: one at a time, the first first.
        node, written = known[0]
        kept = [a for a in node.attribute if a.name not in (*written, "auto_pad", "output_shape")]
        del node.attribute[:]
        node.attribute.extend([*kept, *(helper.make_attribute(*pair) for pair in written.items())])
        changed.append(node.output[0])
    return changed


def _says_shape(node: NodeProto) -> bool:
    own = node.op_type == "ConvTranspose" and node.domain in STANDARD_DOMAINS
    said = {a.name: helper.get_attribute_value(a) for a in node.attribute} if own else {}
    padded = said.get("auto_pad", b"").startswith(b"SAME") and any(said.get("output_padding", ()))
    return "output_shape" in said or padded


def _sizes(shape: list[Dim] | None) -> list[int]:
    """Return the extents of space; none where one is not known."""
    sizes = [d for d in (shape or ())[2:] if isinstance(d, int)]
    return sizes if len(sizes) == len(shape or ()) - 2 else []


def _settled(
    node: NodeProto, size: Sequence[int], kernel: Sequence[int]
) -> dict[str, list[int]] | None:
    """Return the pads and output paddings of a node; None where it needs none written out."""
    said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    n, kind = len(size), said.get("auto_pad", b"NOTSET")
    strides, dilations = (list(said.get(name) or [1] * n) for name in ("strides", "dilations"))
    extra = list(said.get("output_padding") or [0] * n)
    wanted = list(said.get("output_shape") or [])[-n:]
    if not wanted and kind.startswith(b"SAME") and any(extra):
        wanted = [i * s for i, s in zip(size, strides, strict=True)]
    elif len(wanted) != n or all(out >= i for out, i in zip(wanted, size, strict=True)):
        return None
    if len(kernel) != n:
        return None
    rows = zip(size, kernel, strides, dilations, extra, wanted, strict=True)
    total = [(i - 1) * s + (k - 1) * d + 1 + e - o for i, k, s, d, e, o in rows]
    if any(-t >= s for t, s in zip(total, strides, strict=True)):
        return None
    less = [max(t, 0) // 2 for t in total]
    more = [max(t, 0) - half for t, half in zip(total, less, strict=True)]
    return {
        "pads": [*less, *more] if kind == b"SAME_UPPER" else [*more, *less],
        "output_padding": extra
        if "output_shape" not in said
        else [e - min(t, 0) for e, t in zip(extra, total, strict=True)],
    }
