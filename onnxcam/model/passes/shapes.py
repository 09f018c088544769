"""onnx's shape inference, with what it gets wrong put right."""

from __future__ import annotations

from dataclasses import dataclass

import onnx.shape_inference
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from onnxcam.graph import quirks
from onnxcam.graph.emit import Dim, proto_shape
from onnxcam.graph.emit.walks import (
    STANDARD_DOMAINS,
    every_graph,
    every_node,
    hide,
    standard_opset,
    unhide,
)
from onnxcam.graph.ops import Trait, has
from onnxcam.model.passes.inference import inferred
from onnxcam.model.passes.pools import crop_left_over, without_ceil, write_out_pads
from onnxcam.model.passes.slopes import expand_inputs
from onnxcam.model.passes.transposed import write_out_shapes

_UNKNOWN = "onnxcam.unknown"  # a domain whose operators onnx does not look into
_CONTRADICTION = "existing shape differ in"  # so onnx words it
_POOLS_RIGHT = 22  # the opset from which on the windows of pools are counted right


@quirks.works_around(quirks.STFT_SIDES, quirks.ATTENTION_SIZE)
def infer_shapes(proto: ModelProto) -> ModelProto:
    """Return a model with the types that onnx infers, and that are right.

    Args:
        proto: A model; that its STFTs are one-sided is written out in it.

    Raises:
        onnx.shape_inference.InferenceError: The model contradicts itself.
    """
    for node in every_node(proto.graph):
        if node.op_type == "STFT" and not any(a.name == "onesided" for a in node.attribute):
            node.attribute.append(helper.make_attribute("onesided", 1))
    found = inferred(proto)
    graph = found.graph
    known = {v.name: v for v in [*graph.value_info, *graph.output]}
    suspects = {
        name: known[name]
        for node in graph.node
        for name in node.output
        if node.op_type == "Attention" and name in known and _is_empty(known[name])
    }
    return _inferred_around(proto, suspects) if suspects else found


def put_right(proto: ModelProto) -> list[str]:
    """Change a model, in place, so that what it says of shapes is what its operators make.

    Args:
        proto: A model.

    Returns:
        What was changed, in words.
    """
    changed = {
        "inputs of PRelu expanded to the slope's size": expand_inputs(proto, _made),
        "output shapes of transposed convolutions written as pads": write_out_shapes(proto, _made),
        "pools without a rounding that the runtime does not do": without_ceil(proto),
        "pools with the pads that the runtime gives them": write_out_pads(proto, _made),
        "pools without the padding of a window that none has": _settle_pools(proto),
        "declared shapes dropped, the operators make others": _drop_contradicted(proto),
    }
    return [
        f"{what}: {', '.join(map(repr, names[:5]))}{', ...' * (len(names) > 5)}"
        for what, names in changed.items()
        if names
    ]


@quirks.works_around(quirks.PADDED_POOLS)
def _settle_pools(proto: ModelProto) -> list[str]:
    """Give pools the end paddings with which their windows are counted right.

    Without the padding that only a window of ``ceil_mode`` has which no runtime counts, the count
    is right and the values stay.

    Returns:
        The names of the outputs of the pools that were changed.
    """
    opset = standard_opset(proto)
    settled: list[str] = []
    while pools := [n for n in every_node(proto.graph) if _is_ceiled(n) and opset < _POOLS_RIGHT]:
        try:
            shapes = _made(proto)
        except onnx.shape_inference.InferenceError:
            break
        rows = ((n, _pool_axes(n, shapes.get(n.input[0]))) for n in pools)
        node, axes = next(((n, a) for n, a in rows if any(x.is_overcounted for x in a)), (None, []))
        # The shapes behind a pool are wrong until it is settled: one at a time, the first first.
        if node is None or not (_settle(node, axes) or _crop(proto, node, axes)):
            break
        settled.append(node.output[0])
    return settled


@dataclass(frozen=True)
class _PoolAxis:
    """One axis of a pool: sizes in elements; those that hang on an unknown input are None."""

    kernel: int
    begin: int
    end: int
    needed: int | None  # padding up to the last tap of the last window; below 0: input is left over
    is_overcounted: bool


def _pool_axes(node: NodeProto, shape: list[Dim] | None) -> list[_PoolAxis]:
    """Return the axes of a pool with ``ceil_mode``; none where the input's rank is unknown."""
    said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kernel = said["kernel_shape"]
    n, axes = len(kernel), []
    if len(shape or ()) != n + 2:
        return []
    strides, dilations = (said.get(name) or [1] * n for name in ("strides", "dilations"))
    pads = said.get("pads") or [0] * 2 * n
    rows = zip((shape or ())[2:], kernel, strides, dilations, pads[:n], pads[n:], strict=True)
    for size, k, stride, dilation, begin, end in rows:
        needed, over = None, False
        if isinstance(size, int):
            reach = (k - 1) * dilation + 1
            last = -(-(size + begin + end - reach) // stride) * stride
            over = last >= size + begin
            needed = last - stride * over + reach - size - begin
        axes.append(_PoolAxis(k, begin, end, needed, over))
    return axes


def _settle(node: NodeProto, axes: list[_PoolAxis]) -> bool:
    """Give a pool its end paddings; False where no paddings alone say what it does."""
    said = {a.name: a for a in node.attribute}
    ends = [x.needed if x.is_overcounted and x.needed is not None else x.end for x in axes]
    if min(ends) < 0:  # ceil_mode would count what is left over
        ends = [x.end if x.needed is None else max(x.needed, 0) for x in axes]
        counts = "count_include_pad" in said and said["count_include_pad"].i
        for end, axis in zip(ends, axes, strict=True):
            if axis.needed is None or end >= axis.kernel or (counts and end > axis.end):
                return False
        said["ceil_mode"].i = 0
    if "pads" not in said:
        said["pads"] = node.attribute.add()
    said["pads"].CopyFrom(helper.make_attribute("pads", [*(x.begin for x in axes), *ends]))
    return True


def _crop(proto: ModelProto, node: NodeProto, axes: list[_PoolAxis]) -> bool:
    """Give a pool the end paddings that its windows reach, of an input without what none does."""
    said = {a.name: a for a in node.attribute}
    needed = [x.needed if x.is_overcounted and x.needed is not None else x.end for x in axes]
    if not crop_left_over(proto, node, [-min(end, 0) for end in needed]):
        return False
    ends = [max(end, 0) for end in needed]
    if "pads" not in said:
        said["pads"] = node.attribute.add()
    said["pads"].CopyFrom(helper.make_attribute("pads", [*(x.begin for x in axes), *ends]))
    return True


def _is_ceiled(node: NodeProto) -> bool:
    said = {a.name: a for a in node.attribute}
    if node.domain not in STANDARD_DOMAINS or not has(node, Trait.POOL) or "ceil_mode" not in said:
        return False
    kind = said["auto_pad"].s if "auto_pad" in said else b"NOTSET"
    return bool(said["ceil_mode"].i) and kind == b"NOTSET"


def _made(proto: ModelProto) -> dict[str, list[Dim] | None]:
    """Return the shapes that the operators make of the inputs, whatever the model declares.

    What is declared behind operators that onnx does not know stays.
    """
    bare = ModelProto()
    bare.CopyFrom(proto)
    foreign = {t for n in proto.graph.node if n.domain not in STANDARD_DOMAINS for t in n.output}
    del bare.graph.value_info[:]
    bare.graph.value_info.extend(v for v in proto.graph.value_info if v.name in foreign)
    for info in bare.graph.output:
        if info.name not in foreign:
            info.type.tensor_type.ClearField("shape")
    graph = inferred(bare).graph
    infos = [v for g in every_graph(graph) for v in (*g.input, *g.value_info, *g.output)]
    return {v.name: proto_shape(v.type) for v in infos}


def _drop_contradicted(proto: ModelProto) -> list[str]:
    """Drop the shapes that a model declares but its operators do not make; return their names.

    ONNX Runtime overrules them too, with a warning.
    """
    try:
        inferred(proto, strict=True)
        return []
    except onnx.shape_inference.InferenceError as error:
        if _CONTRADICTION not in str(error):
            return []
    made = _made(proto)
    wrong = []
    for info in [*proto.graph.value_info, *proto.graph.output]:
        if _contradict(proto_shape(info.type), made.get(info.name)):
            info.type.tensor_type.ClearField("shape")
            wrong.append(info.name)
    return wrong


def _contradict(declared: list[Dim] | None, made: list[Dim] | None) -> bool:
    if declared is None or made is None:
        return False
    pairs = zip(declared, made, strict=False)
    numbers = ((a, b) for a, b in pairs if isinstance(a, int) and isinstance(b, int))
    return len(declared) != len(made) or any(a != b for a, b in numbers)


def _inferred_around(proto: ModelProto, suspects: dict[str, ValueInfoProto]) -> ModelProto:
    """Infer again without a look into the makers of some tensors; their zeros become unknown."""
    hidden = ModelProto()
    hidden.CopyFrom(proto)
    makers = (n for n in hidden.graph.node if any(name in suspects for name in n.output))
    hide(hidden, makers, _UNKNOWN)
    stated = {v.name for v in [*hidden.graph.value_info, *hidden.graph.output]}
    for name, info in suspects.items():
        if name not in stated:
            hidden.graph.value_info.append(_without_zeros(info))
    found = inferred(hidden)
    unhide(found, _UNKNOWN)
    return found


def _is_empty(info: ValueInfoProto) -> bool:
    dims = info.type.tensor_type.shape.dim
    return any(d.HasField("dim_value") and d.dim_value == 0 for d in dims)


def _without_zeros(info: ValueInfoProto) -> ValueInfoProto:
    out = ValueInfoProto()
    out.CopyFrom(info)
    for dim in out.type.tensor_type.shape.dim:
        if dim.HasField("dim_value") and dim.dim_value == 0:
            dim.Clear()
    return out
