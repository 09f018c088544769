"""Reading between, or far from, the cells: resized, warped, picked by what the model computes."""

from __future__ import annotations

import numpy as np

from onnxcam.analysis.geometry.runs import UNKNOWN, Run
from onnxcam.analysis.geometry.site import Site, rule, text, unsure
from onnxcam.analysis.layout.rules import numbers
from onnxcam.graph import ir
from onnxcam.graph.emit import const_value


@rule("GatherElements", "Compress", "TopK", "Unique")
def _disordered(site: Site) -> dict[str, Run]:
    axis = int(site.node.attrs.get("axis", 0 if site.node.op == "GatherElements" else -1))
    letter = site.letter(axis % max(len(site.letters), 1))
    return unsure(site, [letter] if letter else [], "picks positions that the model computes")


@rule("GridSample", "RoiAlign", "MaxRoiPool", "GatherND")
def _sampled(site: Site) -> dict[str, Run]:
    return unsure(site, list(site.runs), "reads the picture at places that the model computes")


@rule("Tile")
def _repeated(site: Site) -> dict[str, Run]:
    repeats = numbers(site.node, 1, "repeats")
    many = [c for i, c in enumerate(site.letters) if repeats is None or repeats[i] != 1]
    return unsure(site, [c for c in many if c in site.runs], "repeats the picture")


@rule("Resize", "Upsample")
def _resized(site: Site) -> dict[str, Run]:
    """All of it at another size; how the corners are aligned is less than half a cell."""
    node, rank = site.node, len(site.letters)
    scales = numbers(node, 2 if node.op == "Resize" else 1, "scales")
    axes = [int(a) % rank for a in node.attrs.get("axes", range(rank))]
    found = {}
    for k, axis in enumerate(axes):
        letter = site.letter(axis)
        if not letter:
            continue
        run = site.runs[letter]
        count = site.count(letter)
        if np.isnan(count) and scales is not None and len(scales) == len(axes):
            count = run.padded.count * _scale(node, k)
        if text(node.attrs.get("coordinate_transformation_mode", "")) == "tf_crop_and_resize":
            found[letter] = _roi(site, run, k, count)
        else:
            found[letter] = run.sized(count)
    return found


def _scale(node: ir.Node, k: int) -> float:
    given = node.attrs.get("scales")
    value = const_value(node.inputs[2 if node.op == "Resize" else 1]) if given is None else given
    return UNKNOWN if value is None else float(value[k])


def _roi(site: Site, run: Run, k: int, count: float) -> Run:
    roi = const_value(site.node.inputs[1])
    if roi is None or len(roi) <= k + len(roi) // 2 or np.isnan(run.count):
        return run.unsure(f"{site.name} crops at places that the model computes")
    low, high = (float(v) * (run.padded.count - 1) for v in (roi[k], roi[k + len(roi) // 2]))
    if low > high:
        return run.unsure(f"{site.name} turns what it crops")
    return run.cut(low, high - low + 1).sized(count)
