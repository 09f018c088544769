"""RNN, GRU and LSTM. Behind the end of a sequence the gradient is zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules import _cells
from onnxcam.autodiff.rules._cells import Flow
from onnxcam.autodiff.rules._recurrence import Direction, directions, summed_products
from onnxcam.graph.emit import Emitter, Tensor

Grads = list[Tensor | None]


@vjp("RNN")
def rnn(op: Emitter, node: NodeView, *dys: Tensor | None) -> Grads:
    """da = dh f'(a), dh' = da R for h = f(a), a = W x + R h' + b."""
    return _through(op, node, dys, _cells.rnn)


@vjp("GRU")
def gru(op: Emitter, node: NodeView, *dys: Tensor | None) -> Grads:
    """dz = dh (h' - n), dn = dh (1 - z) for h = (1 - z) n + z h'."""
    after = node.attr("linear_before_reset")
    return _through(op, node, dys, _cells.gru_reset_after if after else _cells.gru)


@vjp("LSTM")
def lstm(op: Emitter, node: NodeView, *dys: Tensor | None) -> Grads:
    """dc = dh o f'(c), di = dc g, df = dc c', dg = dc i for h = o f(c), c = f c' + i g."""
    coupled = bool(node.attr("input_forget"))
    return _through(op, node, dys, lambda op, d: _cells.lstm(op, d, coupled=coupled))


def _through(
    op: Emitter,
    node: NodeView,
    dys: Sequence[Tensor | None],
    cell: Callable[[Emitter, Direction], Flow],
) -> Grads:
    """Return the gradients of all inputs: X, W, R, B, lengths, first h and c, peepholes."""
    ways = directions(op, node, dys)
    flows = [cell(op, d) for d in ways]
    pairs = list(zip(ways, flows, strict=True))
    batch_first = int(node.attr("layout") or 0)
    grads: Grads = [None] * 8
    if node.wants(0):
        parts = [op.MatMul(flow.da, d.w) for d, flow in pairs]
        dx = parts[0] if len(parts) == 1 else op.Add(*parts)
        grads[0] = op.Transpose(dx, perm=[1, 0, 2]) if batch_first else dx
    if node.wants(1):
        grads[1] = _stack(op, [summed_products(op, flow.da, d.x) for d, flow in pairs])
    if node.wants(2):
        rows = [[summed_products(op, *part) for part in flow.rows] for flow in flows]
        grads[2] = _stack(op, [op.Concat(*parts, axis=0) for parts in rows])
    if node.wants(3):
        sides = [op.Concat(flow.da, flow.db, axis=-1) for flow in flows]
        grads[3] = _stack(op, [op.ReduceSum(x, axes=[0, 1], keepdims=0) for x in sides])
    grads[5] = _stack(op, [flow.dh0 for flow in flows], batch_first)
    grads[6] = _stack(op, [flow.dc0 for flow in flows], batch_first)
    grads[7] = _stack(op, [flow.dp for flow in flows])
    return grads[: len(node.inputs)]


def _stack(op: Emitter, parts: Sequence[Tensor | None], axis: int = 0) -> Tensor | None:
    """Return the parts of all directions side by side."""
    given = [op.Unsqueeze(x, axes=[axis]) for x in parts if x is not None]
    if not given:
        return None
    return given[0] if len(given) == 1 else op.Concat(*given, axis=axis)
