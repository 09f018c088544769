"""The cells of RNN, GRU and LSTM backwards, in one direction: T times, N sequences, H states.

Names: a dash marks the state before (h', c'); k is what the gradient of a gate is per gradient of
the state, known for all times before anything runs through time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxcam.autodiff.engine import vjp
from onnxcam.autodiff.rules._recurrence import Direction, parts
from onnxcam.graph.emit import Emitter, Tensor, dtype_of

Pair = tuple[list[Tensor], list[Tensor]]
Now = list[Any]  # tensors, None for what the cell has none of


@dataclass
class Flow:
    """What a cell gives back.

    Attributes:
        da: Gradient of what the input gives to the gates [T, N, gates * H].
        db: Gradient of what the hidden state gives to them.
        rows: The same in parts of gates, each with what its recurrent weights were multiplied by.
        dh0: Gradient of the first hidden state [N, H].
        dc0: Gradient of the first cell state [N, H] (LSTM).
        dp: Gradient of the peepholes [3 * H] (LSTM with them).
    """

    da: Tensor
    db: Tensor
    rows: list[tuple[Tensor, Tensor]]
    dh0: Tensor
    dc0: Tensor | None = None
    dp: Tensor | None = None


def rnn(op: Emitter, d: Direction) -> Flow:
    """h = f(a): da = dh f'(a), dh' = da R."""
    before = d.before(op, d.h, d.h0)
    a = op.Add(_from_input(op, d), _from_state(op, d, before))
    h = d.functions[0](op, a)
    ones = op.Expand(np.ones(1, dtype_of(h)), op.shape(h))
    k = d.within(op, _pulled(op, h, ones, a))

    def step(op: Emitter, states: list[Tensor], now: Now) -> Pair:
        (dh,), (dy, k, held) = states, now
        dh = _plus(op, dh, dy)
        da = op.Mul(dh, k)
        return [_plus(op, op.MatMul(da, d.r), _times(op, dh, held))], [da]

    series = [_cotangent(op, d), k, d.held(op)]
    (dh0,), (da,) = d.scan(op, step, [d.last(op, d.dh_end)], series, reverse=True)
    return Flow(da, da, [(da, before)], dh0)


def gru(op: Emitter, d: Direction) -> Flow:
    """h = (1 - z) n + z h', n = f(W x + R (r h')): dn = dh (1 - z), d(r h') = dn R."""
    before = d.before(op, d.h, d.h0)
    rz, rr, rn = parts(op, d.r, 3, axis=0)
    a = parts(op, _from_input(op, d), 3)
    bz, br, bn = (None, None, None) if d.b is None else parts(op, parts(op, d.b, 2)[1], 3)
    az = op.Add(a[0], _linear(op, before, rz, bz))
    ar = op.Add(a[1], _linear(op, before, rr, br))
    z, r = d.functions[0](op, az), d.functions[0](op, ar)
    reset = op.Mul(r, before)
    an = op.Add(a[2], _linear(op, reset, rn, bn))
    n = d.functions[1](op, an)
    kz = d.within(op, _pulled(op, z, op.Sub(before, n), az))
    kn = d.within(op, _pulled(op, n, op.Sub(1, z), an))
    kr = d.within(op, _pulled(op, r, before, ar))
    weights = op.Concat(rz, rr, axis=0)

    def step(op: Emitter, states: list[Tensor], now: Now) -> Pair:
        (dh,), (dy, kz, kr, kn, r, z) = states, now
        dh = _plus(op, dh, dy)
        dn = op.Mul(dh, kn)
        dreset = op.MatMul(dn, rn)
        gates = op.Concat(op.Mul(dh, kz), op.Mul(dreset, kr), axis=-1)
        through = op.Add(op.Mul(dh, z), op.Mul(dreset, r))
        return [op.Add(op.MatMul(gates, weights), through)], [gates, dn]

    series = [_cotangent(op, d), kz, kr, kn, r, d.within(op, z, 1)]
    (dh0,), (gates, dn) = d.scan(op, step, [d.last(op, d.dh_end)], series, reverse=True)
    da = op.Concat(gates, dn, axis=-1)
    return Flow(da, da, [(gates, before), (dn, reset)], dh0)


def gru_reset_after(op: Emitter, d: Direction) -> Flow:
    """h = (1 - z) n + z h', n = f(W x + r u), u = R h' + b: dn = dh (1 - z), du = dn r."""
    before = d.before(op, d.h, d.h0)
    a, u = parts(op, _from_input(op, d), 3), parts(op, _from_state(op, d, before), 3)
    az, ar = op.Add(a[0], u[0]), op.Add(a[1], u[1])
    z, r = d.functions[0](op, az), d.functions[0](op, ar)
    an = op.Add(a[2], op.Mul(r, u[2]))
    n = d.functions[1](op, an)
    kz = _pulled(op, z, op.Sub(before, n), az)
    kn = _pulled(op, n, op.Sub(1, z), an)
    kr = _pulled(op, r, op.Mul(kn, u[2]), ar)
    k = d.within(op, op.Concat(kz, kr, op.Mul(kn, r), axis=-1))

    def step(op: Emitter, states: list[Tensor], now: Now) -> Pair:
        (dh,), (dy, k, z) = states, now
        dh = _plus(op, dh, dy)
        db = op.Mul(op.Concat(dh, dh, dh, axis=-1), k)
        return [op.Add(op.MatMul(db, d.r), op.Mul(dh, z))], [db, dh]

    series = [_cotangent(op, d), k, d.within(op, z, 1)]
    (dh0,), (db, dh) = d.scan(op, step, [d.last(op, d.dh_end)], series, reverse=True)
    da = op.Concat(*parts(op, db, 3)[:2], op.Mul(dh, d.within(op, kn)), axis=-1)
    return Flow(da, db, [(db, before)], dh0)


def lstm(op: Emitter, d: Direction, *, coupled: bool) -> Flow:
    """h = o f(c), c = f c' + i g: dc = dh o f'(c), di = dc g, df = dc c', dg = dc i, dc' = dc f.

    Coupled, f = 1 - i: di = dc (g - c').
    """
    f, g, h = d.functions
    before = d.before(op, d.h, d.h0)
    ai, ao, af, ag = parts(op, op.Add(_from_input(op, d), _from_state(op, d, before)), 4)
    pi, po, pf = (None, None, None) if d.p is None else parts(op, d.p, 3)
    c = _cells(op, d, (ai, af, ag), (pi, pf), coupled=coupled)
    c_before = d.before(op, c, d.c0)
    ai = _plus(op, ai, _times(op, c_before, pi))
    af = _plus(op, af, _times(op, c_before, pf))
    ao = _plus(op, ao, _times(op, c, po))
    gate, new, out, shown = f(op, ai), g(op, ag), f(op, ao), h(op, c)
    keep = op.Sub(1, gate) if coupled else f(op, af)
    ki = _pulled(op, gate, op.Sub(new, c_before) if coupled else new, ai)
    kf = op.zeros_like(ki) if coupled else _pulled(op, keep, c_before, af)
    ko, kg = _pulled(op, out, shown, ao), _pulled(op, new, gate, ag)
    kc = _plus(op, _pulled(op, shown, out, c), _times(op, ko, po))
    if pi is not None:
        keep = op.Add(keep, _plus(op, op.Mul(ki, pi), _times(op, kf, pf)))
    k = d.within(op, op.Concat(ki, ko, kf, kg, axis=-1))

    def step(op: Emitter, states: list[Tensor], now: Now) -> Pair:
        (dh, dc), (dy, kc, k, keep, held) = states, now
        dh = _plus(op, dh, dy)
        dc = op.Add(dc, op.Mul(dh, kc))
        da = op.Mul(op.Concat(dc, dh, dc, dc, axis=-1), k)
        return [_plus(op, op.MatMul(da, d.r), _times(op, dh, held)), op.Mul(dc, keep)], [da]

    series = [_cotangent(op, d), d.within(op, kc), k, d.within(op, keep, 1), d.held(op)]
    ends = [d.last(op, d.dh_end), d.last(op, d.dc_end)]
    (dh0, dc0), (da,) = d.scan(op, step, ends, series, reverse=True)
    dp = None
    if d.p is not None:
        di, do, df, _ = parts(op, da, 4)
        products = op.Concat(op.Mul(di, c_before), op.Mul(do, c), op.Mul(df, c_before), axis=-1)
        dp = op.ReduceSum(products, axes=[0, 1], keepdims=0)
    return Flow(da, da, [(da, before)], dh0, dc0, dp)


def _cells(
    op: Emitter,
    d: Direction,
    gates: tuple[Tensor, Tensor, Tensor],
    peepholes: tuple[Tensor | None, Tensor | None],
    *,
    coupled: bool,
) -> Tensor:
    """Return the cell states [T, N, H]: the one thing that no output of LSTM tells."""
    f, g, _ = d.functions

    def mixed(op: Emitter, ai: Tensor, af: Tensor, ag: Tensor) -> tuple[Tensor, Tensor]:
        gate = f(op, ai)
        return op.Sub(1, gate) if coupled else f(op, af), op.Mul(gate, g(op, ag))

    def advance(op: Emitter, states: list[Tensor], now: Now) -> Pair:
        (c,), (keep, new) = states, now
        c = op.Add(op.Mul(c, keep), new)
        return [c], [c]

    def peep(op: Emitter, states: list[Tensor], now: Now) -> Pair:
        (c,), (ai, af, ag, inside) = states, now
        pi, pf = (_times(op, c, p) for p in peepholes)
        keep, new = mixed(op, _plus(op, ai, pi), _plus(op, af, pf), ag)
        after = op.Add(op.Mul(c, keep), new)
        c = after if inside is None else op.Where(inside, after, c)
        return [c], [c]

    first = [d.zero(op) if d.c0 is None else d.c0]
    if d.p is not None:
        inside = None if d.lengths is None else d.inside(op)
        return d.scan(op, peep, first, [*gates, inside])[1][0]
    keep, new = mixed(op, *gates)
    return d.scan(op, advance, first, [d.within(op, keep, 1), d.within(op, new)])[1][0]


def _from_input(op: Emitter, d: Direction) -> Tensor:
    return _linear(op, d.x, d.w, None if d.b is None else parts(op, d.b, 2)[0])


def _from_state(op: Emitter, d: Direction, before: Tensor) -> Tensor:
    return _linear(op, before, d.r, None if d.b is None else parts(op, d.b, 2)[1])


def _linear(op: Emitter, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    return _plus(op, op.MatMul(x, op.Transpose(w, perm=[1, 0])), b)


def _cotangent(op: Emitter, d: Direction) -> Tensor | None:
    return None if d.dh is None else d.within(op, d.dh)


def _pulled(op: Emitter, y: Tensor, dy: Tensor, x: Tensor) -> Tensor:
    """Return dy times the derivative of y, a function of x alone, by element."""
    dx = vjp(op, [(y, dy)], [x], stops=[x])[0]
    return op.zeros_like(x) if dx is None else dx


def _plus(op: Emitter, a: Tensor, b: Tensor | None) -> Tensor:
    return a if b is None else op.Add(a, b)


def _times(op: Emitter, a: Tensor, b: Tensor | None) -> Tensor | None:
    return None if b is None else op.Mul(a, b)
