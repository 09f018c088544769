"""Steps to newer opsets that only write a node otherwise: settings become inputs, names change."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from onnxcam.model.passes.site import Nodes, Site, Unraisable, keep_outputs, pop, put, step, take

_REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSumSquare"
)


@step(_REDUCTIONS, 18)
@step("ReduceSum Squeeze Unsqueeze", 13)
def axes_as_input(node: NodeProto, site: Site) -> Nodes:
    """The axes are an input."""
    axes = pop(node, "axes")
    if axes is not None:
        node.input.append(site.const(axes))
    return None


@step("Split", 13)
def split_as_input(node: NodeProto, site: Site) -> Nodes:
    """The sizes of the parts are an input."""
    split = pop(node, "split")
    if split is not None:
        node.input.append(site.const(split))
    return None


@step("Split", 2)
def split_as_attribute(node: NodeProto, site: Site) -> Nodes:
    """The sizes of the parts are an attribute for a while."""
    if len(node.input) > 1:
        put(node, split=_constant(node, 1, site))
        take(node, node.input[:1])
    return None


@step("Split", 18)
def counted_split(node: NodeProto, site: Site) -> Nodes:
    """Without sizes the number of parts is said."""
    if len(node.input) < 2 or not node.input[1]:
        put(node, num_outputs=len(node.output))
    return None


@step("Slice", 10)
def slice_by_inputs(node: NodeProto, site: Site) -> Nodes:
    """Starts, ends and axes are inputs."""
    starts, ends, axes = (pop(node, name) for name in ("starts", "ends", "axes"))
    named = [] if axes is None else [site.const(axes)]
    take(node, [node.input[0], site.const(starts), site.const(ends), *named])
    return None


@step("TopK", 10)
def top_k_by_input(node: NodeProto, site: Site) -> Nodes:
    """The count is an input."""
    node.input.append(site.const([pop(node, "k")]))
    return None


@step("Clip", 6)
@step("Elu HardSigmoid", 6)
def as_before(node: NodeProto, site: Site) -> Nodes:
    """What is not said means the same."""
    return None


@step("Selu", 6)
def selu_as_it_was(node: NodeProto, site: Site) -> Nodes:
    """The constants got more digits: those of old are said."""
    alpha, gamma = pop(node, "alpha", 1.6732), pop(node, "gamma", 1.0507)
    put(node, alpha=alpha, gamma=gamma)
    return None


@step("Clip", 11)
def clip_by_inputs(node: NodeProto, site: Site) -> Nodes:
    """The limits are inputs of the type of what is clipped."""
    low, high = pop(node, "min"), pop(node, "max")
    if low is None and high is None:
        return None
    dtype = site.dtype(node.input[0])
    limits = [
        "" if limit is None else site.const(_within(limit, dtype), dtype) for limit in (low, high)
    ]
    take(node, [node.input[0], *limits])
    return None


def _within(value: float, dtype: np.dtype[Any]) -> float:
    """Return a number of single precision, or the largest that a type holds where it is beyond."""
    largest = float(np.finfo(dtype).max) if dtype.kind == "f" else abs(value)
    return min(max(value, -largest), largest)


@step("Pad", 2)
def paddings_renamed(node: NodeProto, site: Site) -> Nodes:
    """They are called pads."""
    pads = pop(node, "paddings")
    if pads is not None:
        put(node, pads=pads)
    return None


@step("Pad", 11)
def pad_by_inputs(node: NodeProto, site: Site) -> Nodes:
    """The pads are an input, and so is the value where a constant is written."""
    pads, value = pop(node, "pads"), pop(node, "value", 0.0)
    constant = next((a.s for a in node.attribute if a.name == "mode"), b"constant") == b"constant"
    said = [site.const(value, site.dtype(node.input[0]))] if constant and value else []
    take(node, [node.input[0], site.const(pads), *said])
    return None


@step("Reshape", 5)
def shape_as_input(node: NodeProto, site: Site) -> Nodes:
    """The shape is an input."""
    node.input.append(site.const(pop(node, "shape", [])))
    return None


@step("Concat", 4)
def concat_axis(node: NodeProto, site: Site) -> Nodes:
    """The axis has to be said."""
    put(node, axis=pop(node, "axis", 1))
    return None


@step("Cast", 6)
def cast_by_number(node: NodeProto, site: Site) -> Nodes:
    """The type is a number; it was a name."""
    name = pop(node, "to")
    put(
        node, to=TensorProto.DataType.Value(name.decode() if isinstance(name, bytes) else str(name))
    )
    return None


@step("LpPool GlobalLpPool", 2)
def whole_power(node: NodeProto, site: Site) -> Nodes:
    """The power is a whole number."""
    power = float(pop(node, "p", 2.0))
    if not power.is_integer():
        raise Unraisable(f"its power is {power}")
    put(node, p=int(power))
    return None


@step("GRU", 3)
def recurrent_direction(node: NodeProto, site: Site) -> Nodes:
    """What is not said was misspelt."""
    put(node, direction=pop(node, "direction", b"forward"))
    return None


@step("Dropout", 7)
def dropout_without_test(node: NodeProto, site: Site) -> Nodes:
    """It never drops where no training is."""
    pop(node, "is_test")
    return None


@step("Dropout", 10)
def dropout_mask(node: NodeProto, site: Site) -> Nodes:
    """The mask was of the type of the data."""
    keep_outputs(node, 1, site, "its mask is used")
    return None


@step("Dropout", 12)
def dropout_by_input(node: NodeProto, site: Site) -> Nodes:
    """The ratio is an input, of no meaning where no training is; a mask was all false."""
    keep_outputs(node, 1, site, "its mask is used")
    pop(node, "ratio")
    return None


@step("Scatter", 11)
def scatter_renamed(node: NodeProto, site: Site) -> Nodes:
    """It is called ScatterElements."""
    node.op_type = "ScatterElements"
    return [node]


@step("RoiAlign", 16)
def roi_align_as_it_was(node: NodeProto, site: Site) -> Nodes:
    """The half pixel that the default takes off now is not taken off."""
    put(node, coordinate_transformation_mode="output_half_pixel")
    return None


@step("GridSample", 20)
def grid_sample_modes(node: NodeProto, site: Site) -> Nodes:
    """The modes lost their "bi"."""
    mode = pop(node, "mode", b"bilinear")
    put(node, mode={b"bilinear": b"linear", b"bicubic": b"cubic"}.get(mode, mode))
    return None


@step("DFT", 20)
def dft_axis_as_input(node: NodeProto, site: Site) -> Nodes:
    """The axis is an input."""
    length = node.input[1] if len(node.input) > 1 else ""
    take(node, [node.input[0], length, site.const(pop(node, "axis", 1))])
    return None


@step("GroupNormalization", 21)
def scales_of_channels(node: NodeProto, site: Site) -> Nodes:
    """Scale and bias are of channels; they were of groups."""
    shape = site.shape(node.input[0]) or [None, None]
    groups = next(a.i for a in node.attribute if a.name == "num_groups")
    if not isinstance(shape[1], int):
        raise Unraisable("the number of its channels is not known")
    index = site.const(np.arange(shape[1]) // (shape[1] // groups))
    spread = [site.fresh(f"{node.output[0]}/{name}") for name in ("scale", "bias")]
    makers = [
        helper.make_node("Gather", [name, index], [each], axis=0)
        for name, each in zip(node.input[1:3], spread, strict=True)
    ]
    plain = NodeProto()
    plain.CopyFrom(node)
    take(plain, [node.input[0], *spread])
    return [*makers, plain]


def _constant(node: NodeProto, i: int, site: Site) -> list[int]:
    value = site.value(node.input[i])
    if value is None:
        raise Unraisable(f"its input {node.input[i]!r} is no constant")
    return [int(n) for n in value.ravel()]
