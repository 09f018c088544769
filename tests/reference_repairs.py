"""Repairs of ONNX's reference evaluator, so that it can be an oracle; import it for its effect.

Each says what was wrong (onnx 1.23); a repaired operator is still ONNX's own code where that is
right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.ops import op_conv_transpose

_conv_transpose = op_conv_transpose.ConvTranspose._run


def _conv_transpose_by_group(self: Any, x: Any, w: Any, b: Any = None, **attributes: Any) -> Any:
    """With groups the weight was cut in too small pieces and one channel a group was written."""
    group = attributes.pop("group", None) or 1
    parts = zip(np.split(x, group, axis=1), np.split(w, group), strict=True)
    ys = [_conv_transpose(self, px, pw, None, group=1, **attributes)[0] for px, pw in parts]
    y = np.concatenate(ys, axis=1)
    return (y if b is None else y + b.reshape(-1, *[1] * (y.ndim - 2)),)


op_conv_transpose.ConvTranspose._run = _conv_transpose_by_group
