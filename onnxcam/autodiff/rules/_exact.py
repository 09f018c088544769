"""Comparisons that hold in half precision too."""

from __future__ import annotations

from copy import copy

import numpy as np

from onnxcam.autodiff.registry import NodeView
from onnxcam.graph import quirks
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, is_float

_SINGLE = np.dtype(np.float32)


@quirks.works_around(quirks.HALF_ROUNDING)
def in_single(op: Emitter, node: NodeView, dy: Tensor) -> tuple[NodeView, Tensor]:
    """Return a node whose inputs can be compared with its outputs, and dy, both in float32.

    The inputs are cast once and the node runs again on just these casts: what is equal is so for
    every consumer. A node in single or double precision is returned as it is.
    """
    if not any(_is_half(x) for x in node.inputs):
        return node, dy
    view = copy(node)
    view.inputs = [op.cast(x, _SINGLE) if x is not None and _is_half(x) else x for x in node.inputs]
    made = node.emit_forward(op, view.inputs)
    view.outputs = list(made) if isinstance(made, tuple) else [made]
    return view, op.cast(dy, _SINGLE)


def _is_half(tensor: Tensor | None) -> bool:
    kind = dtype_of(tensor) if tensor is not None and is_float(tensor) else None
    return kind is not None and kind.itemsize < _SINGLE.itemsize
