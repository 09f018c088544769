"""Run ONNX models in double: ONNX's reference evaluator with torch's convolutions and pools.

The evaluator's own are loops in Python; these take milliseconds, and double comes from torch
where ONNX Runtime has single precision only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops import op_max_pool
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from support import reference_repairs  # noqa: F401 - for its effect

Array = np.ndarray[Any, Any]


class Conv(OpRun):
    def _run(self, x: Array, w: Array, b: Array | None = None, **a: Any) -> tuple[Array]:
        _only_explicit_pads(a)
        n = x.ndim - 2
        run = (F.conv1d, F.conv2d, F.conv3d)[n - 1]
        padded = _padded(_tensor(x), a["pads"] or [0] * 2 * n)
        bias = None if b is None else _tensor(b)
        y = run(
            padded, _tensor(w), bias, a["strides"] or 1, 0, a["dilations"] or 1,
            a["group"] or 1,
        )  # fmt: skip
        return (y.numpy(),)


class ConvTranspose(OpRun):
    def _run(self, x: Array, w: Array, b: Array | None = None, **a: Any) -> tuple[Array]:
        _only_explicit_pads(a)
        n = x.ndim - 2
        run = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[n - 1]
        pads = a["pads"] or [0] * 2 * n
        extra = a["output_padding"] or [0] * n
        bias = None if b is None else _tensor(b)
        # torch pads less than a stride on top; here pads and padding are cut and added by hand.
        y = run(
            _tensor(x), _tensor(w), bias, a["strides"] or 1, 0, 0,
            a["group"] or 1, a["dilations"] or 1,
        )  # fmt: skip
        assert b is None or not any(extra), "a bias reaches into the output padding"
        ends = [e - p for e, p in zip(extra, pads[n:], strict=True)]
        return (_padded(y, [*(-p for p in pads[:n]), *ends]).numpy(),)


class MaxPool(op_max_pool.MaxPool):
    def _run(self, x: Array, **a: Any) -> tuple[Array, ...]:
        _only_explicit_pads(a)
        n = x.ndim - 2
        kernel, strides, dilations = a["kernel_shape"], a["strides"] or 1, a["dilations"] or 1
        pads = list(a["pads"] or [0] * 2 * n)
        if pads[:n] != pads[n:]:
            return super()._run(x, **a)
        run = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[n - 1]
        y, places = run(
            _tensor(x), kernel, strides, pads[:n], dilations, bool(a["ceil_mode"]), True
        )
        size = int(np.prod(x.shape[2:]))  # torch counts in each plane, ONNX in the whole tensor
        planes = torch.arange(x.shape[0] * x.shape[1]).view(*x.shape[:2], *[1] * n)
        outputs = y.numpy(), (places + size * planes).numpy()
        return outputs[: len(self.onnx_node.output)]


class LayerNormalization(OpRun):
    """In the dtype of its input, as `stash_type` 11 asks for; onnx 1.23 knows float32 alone."""

    def _run(self, x: Array, scale: Array, b: Array | None = None, **a: Any) -> tuple[Array, ...]:
        assert a["stash_type"] == 1 or x.dtype == np.float64
        axes = tuple(range(a["axis"] % x.ndim, x.ndim))
        mean = x.mean(axes, keepdims=True)
        inv = 1 / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + a["epsilon"])
        y = (x - mean) * inv * scale
        return (y if b is None else y + b, mean, inv)[: len(self.onnx_node.output)]


def run(model: ModelProto, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
    """Return outputs of a model, computed in the dtypes that it states."""
    session = ReferenceEvaluator(model, new_ops=[Conv, ConvTranspose, LayerNormalization, MaxPool])
    with np.errstate(all="ignore"):
        return [np.asarray(y) for y in session.run(list(outputs), dict(feeds))]


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.array(array))  # read-only or backwards, it makes no difference


def _padded(x: Tensor, pads: Sequence[int]) -> Tensor:
    """Pad with zeros by ONNX's list (all begins, all ends); negative numbers cut."""
    n = len(pads) // 2
    pairs = [p for i in reversed(range(n)) for p in (pads[i], pads[n + i])]
    return F.pad(x, pairs) if any(pairs) else x


def _only_explicit_pads(attributes: Mapping[str, Any]) -> None:
    kind = attributes["auto_pad"]
    assert kind in (None, "NOTSET", "VALID"), f"auto_pad {kind}"
    assert not attributes.get("output_shape"), "output_shape"
