"""Recurrent networks with quantised weights."""

from __future__ import annotations

from typing import Any

from onnxcam.graph.contrib.definitions import define, rank_of
from onnxcam.graph.emit import Emitter, Tensor

_Maybe = Tensor | None


@define("DynamicQuantizeLSTM", rounds=True)
def dynamic_quantize_lstm(
    op: Emitter, x: Tensor, w: Tensor, r: Tensor, b: _Maybe, sequence_lens: _Maybe,
    initial_h: _Maybe, initial_c: _Maybe, p: _Maybe, w_scale: Tensor, w_zero: Tensor,
    r_scale: Tensor, r_zero: Tensor, **lstm: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    """An LSTM with dequantised weights; that x and h are quantised at each step is left out."""
    op.straight_through.add("DynamicQuantizeLSTM")
    made: tuple[Tensor, ...] = op.LSTM(
        x, _weights(op, w, w_scale, w_zero), _weights(op, r, r_scale, r_zero), b, sequence_lens,
        initial_h, initial_c, p, **lstm, _outputs=3,
    )  # fmt: skip
    return made


def _weights(op: Emitter, w: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Return [directions, inputs, 4 hidden] integers as LSTM's [directions, 4 hidden, inputs]."""
    axes = [1, 2] if rank_of(scale) == 1 else [1]
    steps = op.Sub(op.Cast(w, to=1), op.Unsqueeze(op.Cast(zero, to=1), axes=axes))
    return op.Transpose(op.Mul(steps, op.Unsqueeze(scale, axes=axes)), perm=[0, 2, 1])
