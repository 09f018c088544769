"""Pools whose pads or inputs are written so that all count their windows as the runtime does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx.shape_inference
from onnx import ModelProto, NodeProto, helper

from onnxcam.graph import quirks
from onnxcam.graph.emit import Dim, proto_shape
from onnxcam.graph.emit.walks import STANDARD_DOMAINS, every_graph, every_node
from onnxcam.graph.ops import Trait, has


@quirks.works_around(quirks.DILATED_POOLS)
def write_out_pads(
    proto: ModelProto, made: Callable[[ModelProto], dict[str, list[Dim] | None]]
) -> list[str]:
    """Give pools with ``auto_pad=SAME`` and dilations the pads that ONNX Runtime gives them.

    Args:
        proto: A model; it is changed. A pool of an input of unknown size stays.
        made: Returns the shapes that the operators of a model make, by the names of the tensors.

    Returns:
        The names of the outputs of the pools that were changed.
    """
    changed: list[str] = []
    while pools := [n for n in every_node(proto.graph) if _is_dilated(n)]:
        try:
            shapes = made(proto)
        except onnx.shape_inference.InferenceError:
            break
        known = [(n, pads) for n in pools if (pads := _pads(n, shapes.get(n.input[0]))) is not None]
        if not known:
            break
        # The shapes behind a pool are wrong until it is settled: one at a time, the first first.
        node, pads = known[0]
        crop_left_over(proto, node, [-min(end, 0) for end in pads[len(pads) // 2 :]])
        pads = [max(pad, 0) for pad in pads]
        kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads")]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("pads", pads)])
        changed.append(node.output[0])
    return changed


def _is_dilated(node: NodeProto) -> bool:
    """Tell whether a pool is one whose pads are to be written out."""
    if node.domain not in STANDARD_DOMAINS or not has(node, Trait.POOL):
        return False
    said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kind = said.get("auto_pad", b"NOTSET")
    if kind == b"VALID":  # see shapes.py: pools with ceil_mode
        return bool(said.get("ceil_mode", 0))
    return kind != b"NOTSET" and any(d > 1 for d in said.get("dilations", ()))


def _pads(node: NodeProto, shape: list[Dim] | None) -> list[int] | None:
    """Return the pads as ONNX Runtime counts them: for taps that lie side by side.

    One below 0 is what is left over.
    """
    said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kernel = said["kernel_shape"]
    ones, size = [1] * len(kernel), (shape or [])[2:]
    if said["auto_pad"] == b"VALID":
        return [0] * 2 * len(kernel)
    if len(size) != len(kernel):
        return None
    begin, end = [], []
    rows = zip(
        size, kernel, said.get("strides") or ones, said.get("dilations") or ones, strict=True
    )
    for i, k, s, dilation in rows:
        if not isinstance(i, int):
            return None
        total = (-(-i // s) - 1) * s + k - i
        if total < (-1 if dilation == 1 else 0):  # a dilated window may reach what is left over
            return None
        less, more = max(total, 0) // 2, (max(total, 0) + 1) // 2
        begin.append(less if said["auto_pad"] == b"SAME_UPPER" else more)
        end.append(total - begin[-1])
    return [*begin, *end]


def crop_left_over(proto: ModelProto, node: NodeProto, ends: Sequence[int | None]) -> bool:
    """Let a pool read only what its windows reach.

    Args:
        proto: The model; it is changed.
        node: The pool, a node of it or of one of its subgraphs.
        ends: How much of the input is left over behind the last window, per axis of space; None
            and 0 where nothing is.

    Returns:
        False where there is nothing to cut.
    """
    cuts = {2 + i: -end for i, end in enumerate(ends) if end}
    if not cuts:
        return False
    taken = {name for n in every_node(proto.graph) for name in (*n.input, *n.output)}
    base = f"{node.output[0]}/reached"
    while any(name.startswith(base) for name in taken):
        base += "_"
    rows = {"starts": [0] * len(cuts), "ends": list(cuts.values()), "axes": list(cuts)}
    nodes = [
        helper.make_node("Constant", [], [f"{base}/{name}"], f"{base}/{name}", value_ints=values)
        for name, values in rows.items()
    ]
    inputs = [node.input[0], *(f"{base}/{name}" for name in rows)]
    nodes.append(helper.make_node("Slice", inputs, [base], base))
    for graph in every_graph(proto.graph):
        for index, other in enumerate(graph.node):
            if other.output and other.output[0] == node.output[0]:
                node.input[0] = base
                for offset, new in enumerate(nodes):
                    graph.node.insert(index + offset, new)
                return True
    return False


def without_ceil(proto: ModelProto) -> list[str]:
    """Drop ``ceil_mode`` of pools that are padded to keep the size, which is the size already.

    Shape inference rounds up once more; ONNX Runtime does not.

    Returns:
        The names of the outputs of the pools that were changed.
    """
    changed = []
    for node in every_node(proto.graph):
        if node.domain not in STANDARD_DOMAINS or not has(node, Trait.POOL):
            continue
        said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        same = said.get("auto_pad", b"").startswith(b"SAME") and said.get("ceil_mode", 0)
        if same and all(d == 1 for d in said.get("dilations", ())):
            kept = [a for a in node.attribute if a.name != "ceil_mode"]
            del node.attribute[:]
            node.attribute.extend(kept)
            changed.append(node.output[0])
    return changed


def fill_windows(proto: ModelProto) -> list[str]:
    """Pad what the window of an AveragePool, that counts padding, lacks of an input.

    Before opset 19 it is divided by its whole size, also where the input is smaller.

    Args:
        proto: A model with its shapes, raised from before opset 19; it is changed.

    Returns:
        The names of the outputs of the pools that were changed.
    """
    nodes = [n for n in every_node(proto.graph) if n.op_type == "AveragePool" and _counts(n)]
    if not nodes:
        return []
    infos = [v for g in every_graph(proto.graph) for v in (*g.input, *g.value_info, *g.output)]
    shapes = {v.name: proto_shape(v.type) for v in infos}
    changed = []
    for node in nodes:
        said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        size, kernel = (shapes.get(node.input[0]) or [])[2:], said["kernel_shape"]
        same = said.get("auto_pad", b"").startswith(b"SAME")
        if len(size) != len(kernel) or same or said.get("ceil_mode", 0):
            continue
        pads = list(said.get("pads") or [0] * 2 * len(kernel))
        strides = said.get("strides") or [1] * len(kernel)
        rows = zip(size, kernel, strides, pads, pads[len(kernel) :], strict=False)
        lacking = [
            k - i - b - e if isinstance(i, int) and k - i - b - e < s else 0  # else: no window
            for i, k, s, b, e in rows
        ]
        if max(lacking) > 0:
            more = [0] * len(kernel) + [max(n, 0) for n in lacking]
            kept = [a for a in node.attribute if a.name not in ("auto_pad", "pads")]
            wide = [p + m for p, m in zip(pads, more, strict=True)]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("pads", wide)])
            changed.append(node.output[0])
    return changed


def _counts(node: NodeProto) -> bool:
    return any(a.name == "count_include_pad" and a.i for a in node.attribute)
