"""Repairs of ONNX's reference evaluator for what runs in loops; import it for its effect.

What onnx 1.23 has wrong or leaves out:
- Loop: scan outputs (it joins them instead of stacking), no condition, no iteration;
- Scan: axes and directions;
- SequenceInsert at the end by number (it inserts at the front);
- SequenceMap over nothing, over three sequences, with outer tensors;
- Optional (it makes a list of the value);
- RNN, GRU and LSTM: lengths, activations, clipping, coupled gates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper
from onnx.reference.op_run import OpRun
from onnx.reference.ops import (
    op_gru,
    op_loop,
    op_lstm,
    op_optional,
    op_rnn,
    op_scan,
    op_sequence_insert,
    op_sequence_map,
)

from support.naive_recurrent import recurrent

# ---- Loop


def _loop(self: Any, trips: Any, going: Any, *states: Any, context: Any = None,
          body: Any = None, attributes: Any = None, bindings: Any = None) -> Any:  # fmt: skip
    body, names = self.body, self.body.input_names
    states, rows = list(states), [[] for _ in body.output_names[len(states) + 1 :]]
    going = True if going is None else bool(np.all(going))
    number = 0
    while going and (trips is None or number < int(np.squeeze(trips))):
        lead = [np.array(number, np.int64), np.array(True)]
        feeds = {**(context or {}), **dict(zip(names, [*lead, *states], strict=True))}
        outputs = self._run_body(feeds, attributes=attributes, bindings=bindings)
        going = bool(np.all(outputs[0]))
        states = outputs[1 : 1 + len(states)]
        for row, value in zip(rows, outputs[1 + len(states) :], strict=True):
            row.append(value)
        number += 1
    kinds = body.output_types[1 + len(states) :]
    stacks = [np.stack(row) if row else _no_rows(k) for row, k in zip(rows, kinds, strict=True)]
    return tuple([*states, *stacks][: len(self.onnx_node.output)])


def _no_rows(kind: Any) -> Any:
    """Return what zero iterations stack up to: unknown dimensions count as 0."""
    tensor = kind.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type or 1)
    return np.zeros((0, *(d.dim_value for d in tensor.shape.dim)), dtype)


# ---- Scan


def _scan_init(self: Any, node: Any, run_params: Any) -> None:
    OpRun.__init__(self, node, run_params)
    self.input_names, self.output_names = self.body.input_names, self.body.output_names


def _scan(self: Any, *args: Any, context: Any = None, bindings: Any = None, **_: Any) -> Any:
    slices = self.num_scan_inputs
    states, scanned = list(args[: len(args) - slices]), args[len(args) - slices :]
    written = len(self.output_names) - len(states)
    axes = self.scan_input_axes or [0] * slices
    ways = self.scan_input_directions or [0] * slices
    rows = [_rows(x, axis, way) for x, axis, way in zip(scanned, axes, ways, strict=True)]
    outputs: list[list[Any]] = [[] for _ in range(written)]
    for now in zip(*rows, strict=True):
        feeds = {**(context or {}), **dict(zip(self.input_names, [*states, *now], strict=True))}
        values = self._run_body(feeds, bindings=bindings)
        states = values[: len(states)]
        for row, value in zip(outputs, values[len(states) :], strict=True):
            row.append(value)
    axes = self.scan_output_axes or [0] * written
    ways = self.scan_output_directions or [0] * written
    parts = zip(outputs, axes, ways, strict=True)
    return tuple([*states, *(np.stack(row[:: 1 - 2 * way], axis) for row, axis, way in parts)])


def _rows(x: Any, axis: int, way: int) -> list[Any]:
    return list(np.moveaxis(x, axis, 0))[:: 1 - 2 * way]


# ---- sequences


def _sequence_insert(self: Any, sequence: Any, tensor: Any, place: Any = None) -> Any:
    parts = list(sequence)
    place = len(parts) if place is None else int(np.squeeze(place))
    parts.insert(place, tensor)
    return (parts,)


def _sequence_map(self: Any, *inputs: Any, context: Any = None, **_: Any) -> Any:
    names, outer = self.body.input_names, context or {}
    rows = [
        self._run_body({**outer, **dict(zip(names, [_element(x, i) for x in inputs], strict=True))})
        for i in range(len(inputs[0]))
    ]
    return tuple([list(column) for column in zip(*rows, strict=True)] or [[]] * len(self.output))


def _element(x: Any, index: int) -> Any:
    return x[index] if isinstance(x, list) else x


def _optional(self: Any, x: Any = None, type: Any = None) -> Any:
    return (x,)


# ---- RNN, GRU, LSTM


def _recurrent(self: Any, *inputs: Any, **attributes: Any) -> Any:
    node, stated = self.onnx_node, {k: v for k, v in attributes.items() if v is not None}
    # The evaluator keeps an output without a name, and takes it for an omitted input later.
    given = [x if name else None for name, x in zip(node.input, inputs, strict=False)]
    return recurrent(node.op_type, *given, **stated)[: len(node.output)]


op_loop.Loop._run = _loop
op_scan.Scan.__init__ = _scan_init
op_scan.Scan._run = _scan
op_optional.Optional._run = _optional
op_sequence_insert.SequenceInsert._run = _sequence_insert
op_sequence_map.SequenceMap._run = _sequence_map
op_sequence_map.SequenceMap.need_context = lambda self: True
for common in (op_rnn.CommonRNN, op_gru.CommonGRU, op_lstm.CommonLSTM):
    common.__init__, common._run = OpRun.__init__, _recurrent
