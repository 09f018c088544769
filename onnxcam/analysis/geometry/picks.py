"""Cells that are cut off, put beside, picked or turned round."""

from __future__ import annotations

from math import ceil

import numpy as np

from onnxcam.analysis.geometry.runs import Run
from onnxcam.analysis.geometry.site import Site, rule, unsure
from onnxcam.analysis.layout.rules import axes_of, numbers
from onnxcam.graph.emit import const_value, shape_of


@rule("Slice")
def _sliced(site: Site) -> dict[str, Run]:
    node, rank = site.node, len(site.letters)
    if not rank:  # nothing is known of its axes
        return {}
    starts, ends = (
        numbers(node, i, name) or site.computed.numbers(node, i)
        for i, name in ((1, "starts"), (2, "ends"))
    )
    steps, axes = numbers(node, 4, "steps"), axes_of(node, rank, place=3)
    if axes is None:
        axes = list(range(len(starts or ends or site.letters)))
    found = {}
    for k, axis in enumerate(axes):
        letter = site.letter(axis)
        if not letter:
            continue
        run, step = site.runs[letter], 1 if steps is None else steps[k]
        if starts is None or ends is None:
            found[letter] = _cut_somewhere(site, letter)
            continue
        start, count = _limits(run, starts[k], ends[k], step)
        known = site.count(letter)
        found[letter] = run.cut(start, count if np.isnan(known) else known, step)
    return found


def _limits(run: Run, start: int, end: int, step: int) -> tuple[float, float]:
    """Return the first cell of a slice, and how many it takes."""
    size = run.count + sum(run.beside)
    if size % 1 == 0:
        low, high, _ = slice(start, end, step).indices(int(size))
        if step < 0 and end < -size:
            high = -1
        return low, len(range(low, high, step))
    first = float(start) if start >= 0 else size + start
    if step < 0:
        first = min(first, size - 1)
        stop = -1.0 if end < -(2**31) + 2 else size + end if end < 0 else float(end)
    else:
        stop = size if end > 2**31 - 2 else size + end if end < 0 else float(end)
    return first, (stop - first) / step


def _cut_somewhere(site: Site, letter: str) -> Run:
    run = site.runs[letter]
    if site.count(letter) == run.count + sum(run.beside):
        return run
    return run.unsure(f"{site.name} crops at places that the model computes")


@rule("Split")
def _split(site: Site) -> dict[str, Run]:
    node = site.node
    axis = int(node.attrs.get("axis", 0)) % max(len(site.letters), 1)
    letter = site.letter(axis)
    if not letter:
        return {}
    dims = [(shape_of(t) or (None,) * (axis + 1))[axis] for t in node.outputs]
    said = numbers(node, 1, "split") or [d for d in dims if isinstance(d, int)]
    known = [float(d) for d in said]
    if len(known) != len(node.outputs):
        if len(node.inputs) > 1 and node.inputs[1].name:
            return unsure(site, [letter], "cuts it in parts of sizes that the model computes")
        whole, parts = site.runs[letter].padded.count, len(node.outputs)
        part = ceil(whole / parts) if whole % 1 == 0 else whole / parts
        known = [part] * (parts - 1) + [whole - part * (parts - 1)]
    return {letter: site.runs[letter].cut(sum(known[: site.output]), known[site.output])}


@rule("Pad")
def _padded(site: Site) -> dict[str, Run]:
    node, rank = site.node, len(site.letters)
    pads = numbers(node, 1, "pads")
    axes = axes_of(node, rank, place=3) or list(range(rank))
    found = {}
    for k, axis in enumerate(axes):
        letter = site.letter(axis)
        if not letter:
            continue
        run = site.runs[letter]
        if pads is not None and len(pads) == 2 * len(axes):
            found[letter] = run.put(pads[k], pads[k + len(axes)])
        elif site.count(letter) != run.count + sum(run.beside):
            found[letter] = run.unsure(f"{site.name} pads by numbers that the model computes")
    return found


@rule("CenterCropPad")
def _centred(site: Site) -> dict[str, Run]:
    node, rank = site.node, len(site.letters)
    sizes = numbers(node, 1, "")
    axes = [int(a) % rank for a in node.attrs.get("axes", range(rank))]
    found = {}
    for k, axis in enumerate(axes):
        letter = site.letter(axis)
        if not letter:
            continue
        run = site.runs[letter].padded
        if sizes is None or run.count % 1:
            found[letter] = run.unsure(f"{site.name} crops to a size that is not known")
        elif sizes[k] < run.count:
            found[letter] = run.cut((run.count - sizes[k]) // 2, sizes[k])
        else:
            more = sizes[k] - run.count
            found[letter] = run.put(more // 2, more - more // 2)
    return found


@rule("Gather")
def _gathered(site: Site) -> dict[str, Run]:
    node = site.node
    axis = int(node.attrs.get("axis", 0)) % max(len(site.letters), 1)
    letter, indices = site.letter(axis), node.inputs[1]
    shape = shape_of(indices)
    if not letter or shape is None or len(shape) != 1 or shape == (1,):
        return {}  # one row, or windows
    run, picked = site.runs[letter], const_value(indices)
    if picked is None:
        return {letter: run.unsure(f"{site.name} picks positions that the model computes")}
    picked = np.where(picked < 0, picked + run.padded.count, picked)
    steps = np.unique(np.diff(picked))
    if len(steps) != 1 or not steps[0] or steps[0] % 1:
        return {letter: run.unsure(f"{site.name} puts positions in another order")}
    return {letter: run.cut(float(picked[0]), len(picked), int(steps[0]))}


@rule("ReverseSequence")
def _reversed(site: Site) -> dict[str, Run]:
    node = site.node
    letter = site.letter(int(node.attrs.get("time_axis", 0)))
    if not letter:
        return {}
    run, lengths = site.runs[letter].padded, const_value(node.inputs[1])
    if lengths is None or run.count % 1 or (lengths != run.count).any():
        return {letter: run.unsure(f"{site.name} reverses part of it")}
    return {letter: run.cut(run.count - 1, run.count, -1)}
