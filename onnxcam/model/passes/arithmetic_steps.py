"""Steps to newer opsets of what computes: broadcasting, normalisation, softmax."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import NodeProto, helper

from onnxcam.model.passes.site import Nodes, Site, Unraisable, keep_outputs, pop, put, step, take


@step("Add And Div Equal Greater Less Mul Or Pow Sub Xor", 7)
def broadcast_from_the_right(node: NodeProto, site: Site) -> Nodes:
    """The second operand lay along axes that were named; now it lies along the last ones."""
    wanted, axis = pop(node, "broadcast", 0), pop(node, "axis")
    if not wanted or axis is None:
        return None
    rank, own = site.rank(node.input[0]), site.rank(node.input[1])
    behind = rank - own - axis % max(rank, 1)
    return _with_axes_behind(node, behind, site)


@step("PRelu", 7)
def slope_of_channels(node: NodeProto, site: Site) -> Nodes:
    """A row of slopes was of the channels; now it would lie along the last axis."""
    rank = site.rank(node.input[0])
    slope = site.shape(node.input[1])
    if slope is None:
        raise Unraisable("the rank of its slope is not known")
    return _with_axes_behind(node, rank - 2 if len(slope) == 1 and slope != [1] else 0, site)


def _with_axes_behind(node: NodeProto, count: int, site: Site) -> Nodes:
    """Give the second input of a node more axes of one element behind its own."""
    if count <= 0:
        return None
    rank = site.rank(node.input[1])
    name = site.fresh(f"{node.output[0]}/laid")
    axes = list(range(rank, rank + count))
    laid = helper.make_node("Unsqueeze", [node.input[1]], [name], axes=axes)
    return [laid, _like(node, [node.input[0], name])]


def _like(node: NodeProto, inputs: Iterable[str]) -> NodeProto:
    """Return a node with other inputs."""
    out = NodeProto()
    out.CopyFrom(node)
    take(out, inputs)
    return out


@step("Gemm", 7)
def gemm_broadcasts(node: NodeProto, site: Site) -> Nodes:
    """C is broadcast wherever it can be."""
    pop(node, "broadcast")
    return None


@step("BatchNormalization", 7)
def normalises_at_test(node: NodeProto, site: Site) -> Nodes:
    """It normalises by what it is given where no training is."""
    pop(node, "is_test")
    return None


@step("BatchNormalization", 9)
def normalises_channels(node: NodeProto, site: Site) -> Nodes:
    """Each element had a mean and a deviation of its own where it was not spatial."""
    keep_outputs(node, 1, site, "it is used as in training")
    if pop(node, "spatial", 1):
        return None
    x, scale, bias, mean, variance = node.input
    small = site.const(pop(node, "epsilon", 1e-5), site.dtype(variance))
    y = node.output[0]
    apart, wide, spread, normed, grown = (
        site.fresh(f"{y}/{part}") for part in ("apart", "wide", "spread", "normed", "grown")
    )
    return [
        helper.make_node("Sub", [x, mean], [apart]),
        helper.make_node("Add", [variance, small], [wide]),
        helper.make_node("Sqrt", [wide], [spread]),
        helper.make_node("Div", [apart, spread], [normed]),
        helper.make_node("Mul", [normed, scale], [grown]),
        helper.make_node("Add", [grown, bias], [y]),
    ]


@step("MeanVarianceNormalization", 9)
def normalises_over_axes(node: NodeProto, site: Site) -> Nodes:
    """The axes are said; it was over batch and space, and over channels where that was said."""
    if not pop(node, "normalize_variance", 1):
        raise Unraisable("it only takes the mean off")
    across = bool(pop(node, "across_channels", 0))
    put(node, axes=[0, *[1] * across, *range(2, site.rank(node.input[0]))])
    return None


@step("BatchNormalization", 14)
def normalises_without_training(node: NodeProto, site: Site) -> Nodes:
    """Its means and deviations are outputs of training alone."""
    keep_outputs(node, 1, site, "it is used as in training")
    pop(node, "momentum")
    return None


@step("Hardmax LogSoftmax Softmax", 13)
def along_one_axis(node: NodeProto, site: Site) -> Nodes:
    """All axes from one on counted as one; now there is one axis."""
    axis = pop(node, "axis", 1)
    shape = site.shape(node.input[0])
    if shape is not None:
        axis %= max(len(shape), 1)
        if all(d == 1 for d in shape[axis + 1 :]):
            put(node, axis=axis)
            return None
    x, y = node.input[0], node.output[0]
    size, flat, found = (site.fresh(f"{y}/{name}") for name in ("shape", "flat", "rows"))
    return [
        helper.make_node("Shape", [x], [size]),
        helper.make_node("Flatten", [x], [flat], axis=axis),
        helper.make_node(node.op_type, [flat], [found], name=node.name, axis=-1),
        helper.make_node("Reshape", [found, size], [y]),
    ]
