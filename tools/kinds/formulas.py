"""What methods of a feature layer are by their papers, from its values and torch's gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _rows(a: Array) -> Array:
    """Return the positions as rows, [P, C]."""
    return a.reshape(len(a), -1).T


def _weighted(weights: Array, a: Array) -> Array:
    found: Array = np.tensordot(weights, a, 1)
    return found


def _mean(a: Array) -> Array:
    found: Array = a.reshape(len(a), -1).mean(1)
    return found


def _xgrad(a: Array, g: Array) -> Array:
    total = a.reshape(len(a), -1).sum(1)
    return _weighted(_over((a * g).reshape(len(a), -1).sum(1), total), a)


def _over(above: Array, below: Array) -> Array:
    return np.divide(above, below, where=below != 0, out=np.zeros_like(above))


def _plus_plus(a: Array, g: Array) -> Array:
    """Equation 19 of Grad-CAM++: alpha = g^2 / (2 g^2 + g^3 sum A)."""
    total = a.reshape(len(a), -1).sum(1).reshape(-1, *[1] * (a.ndim - 1))
    alpha = _over(g**2, 2 * g**2 + g**3 * total)
    return _weighted((alpha * np.maximum(g, 0)).reshape(len(a), -1).sum(1), a)


def _against(values: Array, a: Array) -> bool:
    """Whether a direction is turned round: of activities it goes with the sum of the channels.

    Of what goes below 0 nearly as far as above it (tokens) the smaller part is positive.
    """
    rows = _rows(a)
    above, below = np.maximum(rows.max(0), 0).sum(), np.maximum(-rows.min(0), 0).sum()
    sums = (rows - rows.mean(0)).sum(1)
    return bool((values @ sums if above >= 3 * below else (values * np.abs(values)).sum()) < 0)


def _principal(a: Array, sign: str = "sum") -> Array:
    """The projection of the positions on their first direction."""
    rows = _rows(a)
    rows = rows - rows.mean(0)
    values = rows @ np.linalg.svd(rows)[2][0]
    if sign == "active":
        turned = _against(values, a)
    else:
        turned = -values.min() > values.max() if sign == "range" else values @ rows.sum(1) < 0
    found: Array = (-values if turned else values).reshape(a.shape[1:])
    return found


def _kernel(a: Array) -> Array:
    rows = _rows(a)
    rows = rows - rows.mean(0)
    kernel = np.tanh(rows @ rows.T / rows.shape[1] + 1)
    kernel = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
    values, vectors = np.linalg.eigh(kernel)
    u = vectors[:, -1] * np.sqrt(max(values[-1], 0))
    found: Array = (-u if _against(u, a) else u).reshape(a.shape[1:])
    return found


def _fem(a: Array) -> Array:
    flat = a.reshape(len(a), -1)
    shape = (-1, *[1] * (a.ndim - 1))
    mean, spread = flat.mean(1).reshape(shape), flat.std(1).reshape(shape)
    found: Array = (np.abs(mean) * (a > mean + 2 * spread)).sum(0)
    return found


AT_FEATURE: Mapping[str, Callable[[Array, Array], Array]] = {
    "gradcam": lambda a, g: _weighted(_mean(g), a),
    "gradcam++": _plus_plus,
    "hirescam": lambda a, g: (a * g).sum(0),
    "layercam": lambda a, g: (np.maximum(g, 0) * a).sum(0),
    "gradcam-elementwise": lambda a, g: np.maximum(a * g, 0).sum(0),
    "xgradcam": _xgrad,
    "cam": lambda a, g: _weighted(_mean(g), a) * g[0].size,
    "eigen-cam": lambda a, g: _principal(a, "active"),
    "eigen-gradcam": lambda a, g: _principal(a * g),
    "seg-eigen-cam": lambda a, g: _principal(a * np.abs(g), "range"),
    "kpca-cam": lambda a, g: _kernel(a),
    "fem": lambda a, g: _fem(a),
    "random-cam": lambda a, g: _weighted(
        np.random.default_rng(0).uniform(-1, 1, len(a)).astype("f4"), a
    ),
}
