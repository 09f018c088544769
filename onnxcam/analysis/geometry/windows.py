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


def keeps_size(node: ir.Node) -> bool:
    """Tell whether there are as many cells behind a node as before it, by its stride."""
    rank = len(shape_of(node.inputs[0]) or ()) - 2
    windows = _described(node, rank)
    if "Transpose" in node.op:
        more = node.attrs.get("output_padding") or [0] * rank
        pairs = zip(windows, more, strict=False)
        own = all(w is None or w.width + 1 - w.stride - sum(w.pads) + m == 0 for w, m in pairs)
        return own and "output_shape" not in node.attrs
    return all(w is None or 1 - w.stride <= sum(w.pads) - w.width <= 0 for w in windows)


def _windows(site: Site) -> list[tuple[str, Window | None]]:
    first = 1 if has(site.node, Trait.CHANNELS_LAST) else 2
    windows = _described(site.node, len(site.letters) - 2)
    letters = (site.letter(first + i) for i in range(len(windows)))
    return [(c, window) for c, window in zip(letters, windows, strict=True) if c]


def _described(node: ir.Node, rank: int) -> list[Window | None]:
    """Return the window along each axis of space; None where it is padded to keep the size."""
    kernel = node.attrs.get("kernel_shape") or _of_weights(node, rank)
    if kernel is None or len(kernel) != rank:
        return []
    if text(node.attrs.get("auto_pad", "NOTSET")).startswith("SAME"):
        return [None] * rank
    strides = node.attrs.get("strides") or [1] * rank
    dilations = node.attrs.get("dilations") or [1] * rank
    pads = [float(p) for p in node.attrs.get("pads") or [0] * (2 * rank)]
    return [
        Window((int(kernel[i]) - 1) * int(dilations[i]), int(strides[i]), (pads[i], pads[i + rank]))
        for i in range(rank)
    ]


def _of_weights(node: ir.Node, rank: int) -> Sequence[int] | None:
    place = 3 if node.op == "QLinearConv" else 1
    shape = shape_of(node.inputs[place]) if len(node.inputs) > place else None
    if shape is None or len(shape) != rank + 2:
        return None
    sizes = shape[1:-1] if has(node, Trait.CHANNELS_LAST) else shape[2:]
    return [d for d in sizes if isinstance(d, int)]
