"""The options that explainers of any kind have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from onnxcam.errors import UsageError
from onnxcam.inputs import InputSpec
from onnxcam.inputs.description import Labels
from onnxcam.model.model import Libraries
from onnxcam.run.progress import Progress
from onnxcam.run.runner import Upsampling
from onnxcam.run.session import Device


class Call(TypedDict, total=False):
    """The options of a call of an :class:`onnxcam.Explainer`."""

    extra_inputs: Mapping[str, Any] | None
    method: str | None


class Options(TypedDict, total=False):
    """The options of an :class:`onnxcam.Explainer` that do not change what it returns."""

    reduction_layer: str | None
    class_axis: int | None
    input: str | None
    input_format: str | None
    feature_format: str | None
    device: Device
    preprocess: str | os.PathLike[str] | InputSpec | None
    labels: Labels
    detector: Mapping[str, Any] | None
    fuse: Literal["sum", "mean", "max", "product"] | None
    upsampling: Upsampling
    parameters: Mapping[str, Any] | None
    seed: int
    progress: Progress | None
    batch_size: int
    threads: int | None
    budget: int | None
    cache: bool
    op_library: Libraries


def checked_upsampling(upsampling: Upsampling) -> Upsampling:
    """Return a way to enlarge maps.

    Raises:
        UsageError: There is no such way.
    """
    if upsampling not in ("bicubic", "nearest", "none"):
        raise UsageError(f"no upsampling {upsampling!r}", "choose bicubic, nearest or none")
    return upsampling


def checked_seed(seed: int) -> int:
    """Return a seed.

    Raises:
        UsageError: It is no whole number from 0 on.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UsageError(f"seed {seed!r} is no whole number from 0 on", "give one, such as 0")
    return seed


def checked_budget(budget: int | None) -> int | None:
    """Return a budget.

    Raises:
        UsageError: It is no whole number from 1 on.
    """
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int)):
        raise UsageError(f"budget {budget!r} is no whole number from 1 on", "give one, or None")
    if budget is not None and budget < 1:
        raise UsageError(f"a budget of {budget} runs explains nothing", "give 1 or more, or None")
    return budget
