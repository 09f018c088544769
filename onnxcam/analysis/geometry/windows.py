"""Windows: what convolutions and pools see, and what transposed ones write."""

from __future__ import annotations

from collections.abc import Sequence

from onnxcam.analysis.geometry.runs import Run, Window
from onnxcam.analysis.geometry.site import Site, text
from onnxcam.graph import ir
from onnxcam.graph.emit import shape_of
from onnxcam.graph.ops import Trait, has


def windowed(site: Site) -> dict[str, Run]:
    """Return the cells of a convolution or a pool."""
    found = {}
    for letter, window in _windows(site):
        if window is None:  # padded so that there are as many as there shall be
            found[letter] = site.runs[letter].sized(site.count(letter))
        else:
            found[letter] = site.runs[letter].windowed(window, site.count(letter))
    return found


def spread(site: Site) -> dict[str, Run]:
    """Return the cells of a transposed convolution."""
    found = {}
    for letter, window in _windows(site):
        run = site.runs[letter]
        if window is None:
            found[letter] = run.sized(site.count(letter))
        else:
            found[letter] = run.spread(window, site.count(letter))
    return found


def _windows(site: Site) -> list[tuple[str, Window | None]]:
    node = site.node
    rank = len(site.letters) - 2
    first = 1 if has(node, Trait.CHANNELS_LAST) else 2
    kernel = node.attrs.get("kernel_shape") or _of_weights(node, rank)
    if kernel is None or len(kernel) != rank:
        return []
    strides = node.attrs.get("strides") or [1] * rank
    dilations = node.attrs.get("dilations") or [1] * rank
    pads = node.attrs.get("pads") or [0] * (2 * rank)
    same = text(node.attrs.get("auto_pad", "NOTSET")).startswith("SAME")
    found: list[tuple[str, Window | None]] = []
    for i in range(rank):
        letter = site.letter(first + i)
        if letter:
            width = (int(kernel[i]) - 1) * int(dilations[i])
            sides = (float(pads[i]), float(pads[i + rank]))
            found.append((letter, None if same else Window(width, int(strides[i]), sides)))
    return found


def _of_weights(node: ir.Node, rank: int) -> Sequence[int] | None:
    place = 3 if node.op == "QLinearConv" else 1
    shape = shape_of(node.inputs[place]) if len(node.inputs) > place else None
    if shape is None or len(shape) != rank + 2:
        return None
    sizes = shape[1:-1] if has(node, Trait.CHANNELS_LAST) else shape[2:]
    return [d for d in sizes if isinstance(d, int)]
