"""RNN, GRU and LSTM, one sequence and one time after the other, straight from the specification.

Any dtype, complex too (a derivative along a complex step is exact). Where the specification leaves
something open, ONNX Runtime decided: alpha and beta of Affine, ThresholdedRelu and ScaledTanh are 0
unless given, the gates are clipped but not the cell, an empty sequence ends in zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Function = Callable[[Any], Any]
DEFAULTS = {"leakyrelu": (0.01, 0), "hardsigmoid": (0.2, 0.5), "elu": (1, 0),
            "affine": (0, 0), "thresholdedrelu": (0, 0), "scaledtanh": (0, 0)}  # fmt: skip
USUAL = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def activation(name: str, a: float, b: float) -> Function:
    table: dict[str, Function] = {
        "relu": lambda x: np.where(x.real > 0, x, 0),
        "tanh": np.tanh,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "affine": lambda x: a * x + b,
        "leakyrelu": lambda x: np.where(x.real >= 0, x, a * x),
        "thresholdedrelu": lambda x: np.where(x.real > a, x, 0),
        "scaledtanh": lambda x: a * np.tanh(b * x),
        "hardsigmoid": lambda x: _clipped(a * x + b, 0, 1),
        "elu": lambda x: np.where(x.real >= 0, x, a * (np.exp(np.where(x.real < 0, x, 0)) - 1)),
        "softsign": lambda x: x / (1 + np.where(x.real < 0, -x, x)),
        "softplus": lambda x: np.log(1 + np.exp(x)),
    }
    return table[name]


def functions(kind: str, names: Any, alphas: Any, betas: Any, directions: int) -> list[Function]:
    alphas, betas = list(alphas or []), list(betas or [])
    found = []
    for name in (n.lower() for n in names or USUAL[kind] * directions):
        a, b = DEFAULTS.get(name, (0, 0))
        a = alphas.pop(0) if name in DEFAULTS and alphas else a
        b = betas.pop(0) if name in ("hardsigmoid", "affine", "scaledtanh") and betas else b
        found.append(activation(name, a, b))
    return found


def recurrent(kind: str, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None,
              h0: Any = None, c0: Any = None, p: Any = None, *, direction: str = "forward",
              activations: Any = None, activation_alpha: Any = (), activation_beta: Any = (),
              clip: float | None = None, linear_before_reset: int = 0, input_forget: int = 0,
              layout: int = 0, hidden_size: int | None = None) -> tuple[Any, ...]:  # fmt: skip
    """Return Y, Y_h and for LSTM Y_c."""
    if layout:
        x = x.swapaxes(0, 1)
        h0, c0 = (None if s is None else s.swapaxes(0, 1) for s in (h0, c0))
    times, batch, _ = x.shape
    ways, _, hidden = r.shape
    kinds = np.result_type(*(t for t in (x, w, r, b, h0, c0, p) if t is not None))
    lengths = np.full(batch, times) if lengths is None else lengths
    ys = np.zeros((times, ways, batch, hidden), kinds)
    hs, cs = np.zeros((2, ways, batch, hidden), kinds)
    acts = functions(kind, activations, activation_alpha, activation_beta, ways)
    per = len(acts) // ways
    options = {"after": linear_before_reset, "coupled": input_forget}
    for d in range(ways):
        weights = (
            w[d],
            r[d],
            np.zeros(2 * len(w[d])) if b is None else b[d],
            p if p is None else p[d],
        )
        step = CELLS[kind](weights, acts[d * per : d * per + per], clip, **options)
        for n in range(batch):
            state = (np.zeros(hidden, kinds) if h0 is None else h0[d, n],
                     np.zeros(hidden, kinds) if c0 is None else c0[d, n])  # fmt: skip
            when = range(int(lengths[n]))
            for t in reversed(when) if direction == "reverse" or d else when:
                state = step(x[t, n], *state)
                ys[t, d, n] = state[0]
            if when:
                hs[d, n], cs[d, n] = state
    if layout:
        ys, hs, cs = ys.transpose(2, 0, 1, 3), hs.swapaxes(0, 1), cs.swapaxes(0, 1)
    return (ys, hs, cs) if kind == "LSTM" else (ys, hs)


def rnn_cell(weights: Any, acts: Any, clip: Any, **_: Any) -> Callable[..., Any]:
    w, r, b, _ = weights
    wb, rb = np.split(b, 2)
    return lambda x, h, c: (acts[0](_clipped(w @ x + r @ h + wb + rb, clip)), c)


def gru_cell(weights: Any, acts: Any, clip: Any, *, after: int, **_: Any) -> Callable[..., Any]:
    (wz, wr, wn), (rz, rr, rn) = (np.split(m, 3) for m in weights[:2])
    bz, br, bn, cz, cr, cn = np.split(weights[2], 6)

    def step(x: Any, h: Any, c: Any) -> tuple[Any, Any]:
        z = acts[0](_clipped(wz @ x + rz @ h + bz + cz, clip))
        r = acts[0](_clipped(wr @ x + rr @ h + br + cr, clip))
        u = r * (rn @ h + cn) if after else rn @ (r * h) + cn
        n = acts[1](_clipped(wn @ x + u + bn, clip))
        return (1 - z) * n + z * h, c

    return step


def lstm_cell(weights: Any, acts: Any, clip: Any, *, coupled: int, **_: Any) -> Callable[..., Any]:
    w, r, b, p = weights
    wb, rb = np.split(b, 2)
    pi, po, pf = (0, 0, 0) if p is None else np.split(p, 3)

    def step(x: Any, h: Any, c: Any) -> tuple[Any, Any]:
        ai, ao, af, ag = np.split(w @ x + r @ h + wb + rb, 4)
        i = acts[0](_clipped(ai + pi * c, clip))
        f = 1 - i if coupled else acts[0](_clipped(af + pf * c, clip))
        cell = f * c + i * acts[1](_clipped(ag, clip))
        o = acts[0](_clipped(ao + po * cell, clip))
        return o * acts[2](cell), cell

    return step


CELLS = {"RNN": rnn_cell, "GRU": gru_cell, "LSTM": lstm_cell}


def _clipped(x: Any, *bounds: Any) -> Any:
    if not any(bounds):
        return x
    low, high = bounds if len(bounds) == 2 else (-bounds[0], bounds[0])
    return np.where(x.real < low, low, np.where(x.real > high, high, x))
