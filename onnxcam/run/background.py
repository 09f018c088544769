"""Inputs that stand for nothing in particular, from a file."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from onnxcam.errors import InputError
from onnxcam.inputs.arrays import load_said
from onnxcam.run.probe import Probe

Array: TypeAlias = np.ndarray[Any, Any]


def background(file: str, probe: Probe, tensor: Array, axis: int) -> Array | None:
    """Return the inputs [n, C, *space] of a file; None for no file.

    Args:
        file: Its name, or "".
        probe: What knows the order of the axes.
        tensor: The input, in the model's axes.
        axis: The batch's.

    Raises:
        InputError: It cannot be read, or holds no inputs like this one.
    """
    if not file:
        return None
    found = load_said(file, "background")
    like = [d for i, d in enumerate(tensor.shape) if i != axis]
    has = [d for i, d in enumerate(found.shape) if i != axis]
    if has != like or not found.size:
        raise InputError(
            f"the background {file} holds no inputs like this one: its shape is "
            f"{list(found.shape)}, that of the input {list(tensor.shape)}",
            "give prepared inputs, one after another in the batch's axis",
        )
    return probe.channels_first(found)
