"""Steps to newer opsets of what enlarges and shrinks: Upsample, Resize."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from onnxcam.model.passes.site import Nodes, Site, pop, put, step, take


@step("Upsample", 7)
def scales_of_all_axes(node: NodeProto, site: Site) -> Nodes:
    """The scales are those of all axes."""
    height, width = pop(node, "height_scale"), pop(node, "width_scale")
    put(node, scales=[1.0, 1.0, height, width], mode=_mode(pop(node, "mode", b"nearest")))
    return None


def _mode(mode: bytes) -> bytes:
    return b"linear" if mode == b"bilinear" else mode


@step("Upsample", 9)
def scales_as_input(node: NodeProto, site: Site) -> Nodes:
    """The scales are an input."""
    node.input.append(site.const(pop(node, "scales"), np.float32))
    return None


@step("Upsample", 10)
def upsample_renamed(node: NodeProto, site: Site) -> Nodes:
    """It is called Resize, which can shrink too."""
    node.op_type = "Resize"
    put(node, nearest_mode="floor")
    return [node]


@step("Resize", 11)
def resize_as_it_was(node: NodeProto, site: Site) -> Nodes:
    """It counted from the corner, where the default now is the middle of a pixel.

    The nearest was the one below where an axis grew, and the one above where it shrank.
    """
    x, scales = node.input
    said = {a.name: a.s for a in node.attribute}
    put(node, coordinate_transformation_mode="asymmetric")
    take(node, [x, site.const([], np.float32), scales])
    if said.get("mode", b"nearest") != b"nearest" or "nearest_mode" in said:
        return None
    factors = site.value(scales)
    if factors is None:
        return _in_two(node, [site.fresh(f"{scales}/{part}") for part in ("below", "above")], site)
    shrinks, grows = bool((factors < 1).any()), bool((factors > 1).any())
    if shrinks and grows:
        limited = (site.const(f(factors, 1), np.float32) for f in (np.minimum, np.maximum))
        return _in_two(node, list(limited), site)
    put(node, nearest_mode="ceil" if shrinks else "floor")
    return None


def _in_two(node: NodeProto, factors: list[str], site: Site) -> list[NodeProto]:
    """Shrink first, then let the others grow: each has a nearest of its own."""
    x, none, scales = node.input
    one, between = site.const(1, np.float32), site.fresh(f"{node.output[0]}/shrunk")
    limits = [
        helper.make_node(op, [scales, one], [name])
        for op, name in zip(("Min", "Max"), factors, strict=True)
        if site.value(name) is None
    ]
    ways = [(x, factors[0], between, "ceil"), (between, factors[1], node.output[0], "floor")]
    return limits + [
        helper.make_node(
            "Resize", [x, none, factor], [y], mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode=nearest,
        )
        for x, factor, y, nearest in ways
    ]  # fmt: skip
