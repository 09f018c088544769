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
    """Give transposed convolutions with an ``output_shape`` below their input's the pads of it.

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
        known = [(n, pads) for n, both in sizes if all(both) and (pads := _pads(n, *both))]
        if not known:
            break
        # The shapes behind it are wrong until it is settled: one at a time, the first first.
        node, pads = known[0]
        kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads", "output_shape")]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("pads", pads)])
        changed.append(node.output[0])
    return changed


def _says_shape(node: NodeProto) -> bool:
    own = node.op_type == "ConvTranspose" and node.domain in STANDARD_DOMAINS
    return own and any(a.name == "output_shape" for a in node.attribute)


def _sizes(shape: list[Dim] | None) -> list[int]:
    """Return the extents of space; none where one is not known."""
    sizes = [d for d in (shape or ())[2:] if isinstance(d, int)]
    return sizes if len(sizes) == len(shape or ()) - 2 else []


def _pads(node: NodeProto, size: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Return the pads of an output that is smaller than the input; none for any other."""
    said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    n = len(size)
    wanted = list(said["output_shape"])[-n:]
    if (
        len(kernel) != n
        or len(wanted) != n
        or all(o >= i for o, i in zip(wanted, size, strict=True))
    ):
        return []
    strides, dilations = (list(said.get(name) or [1] * n) for name in ("strides", "dilations"))
    extra = list(said.get("output_padding") or [0] * n)
    rows = zip(size, kernel, strides, dilations, extra, wanted, strict=True)
    total = [(i - 1) * s + (k - 1) * d + 1 + e - o for i, k, s, d, e, o in rows]
    if min(total) < 0:
        return []
    less, more = [t // 2 for t in total], [t - t // 2 for t in total]
    upper = said.get("auto_pad", b"NOTSET") == b"SAME_UPPER"
    return [*less, *more] if upper else [*more, *less]
