"""Features as sums of a few concepts, none of them negative."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from onnxcam.errors import UsageError

Array: TypeAlias = np.ndarray[Any, Any]


def learner(module: str, who: str) -> Any:
    """Return a module of scikit-learn, which is imported late: few need it.

    Args:
        module: Its name below ``sklearn``.
        who: What needs it, in words.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise UsageError(
            f"{who} needs scikit-learn", "install onnxcam[concepts], or scikit-learn"
        ) from error


def factors(features: Array, count: int, who: str) -> tuple[Array, Array]:
    """Return W [C, count] and H [count, positions] with features = W H, columns of W of length 1.

    By least squares with W and H not negative, from a fixed start.

    Args:
        features: float [C, positions], none negative.
        count: How many concepts.
        who: What needs them, in words.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    solver = learner("decomposition", who).NMF(n_components=count, init="random", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of iterations: what is left is small
        columns = solver.fit_transform(features)
    length = np.linalg.norm(columns, axis=0)
    length[length == 0] = 1
    return columns / length, solver.components_ * length[:, None]


def amounts(features: Array, columns: Array) -> Array:
    """Return H [count, positions], not negative, for concepts that are given: least squares.

    Args:
        features: float [C, positions].
        columns: W, float [C, count].
    """
    from scipy.optimize import nnls

    return np.stack([nnls(columns, each)[0] for each in features.T], 1)
