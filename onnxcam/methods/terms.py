"""What methods are told and what they return: axes, costs, estimates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from onnxcam.methods.parameters import Setting

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Axes:
    """The axes of a tensor that a method works on.

    Attributes:
        channel: Axis of the channels.
        space: Axes of space, time or tokens.
        principal: Whether channels are put together by their principal component, not by a sum.
    """

    channel: int
    space: tuple[int, ...]
    principal: bool = False


@dataclass(frozen=True)
class Cost:
    """What one explanation of one target costs, in forward passes of the model.

    Attributes:
        each: What a run costs: 1, or about 3 where it has a gradient.
        runs: Name of the parameter that says how many there are; "channels" for those of the
            feature layer; "" for one run; else in words, what the input makes of it.
    """

    each: float = 1
    runs: str = ""

    def __str__(self) -> str:
        """Return it in words."""
        counted = "the layer's channels" if self.runs == "channels" else self.runs
        each = "" if self.each == 1 and counted else f"{self.each:g}"
        return " x ".join(part for part in (each, counted) if part)

    def count(self, settings: Mapping[str, Setting], channels: int | None) -> int | None:
        """Return how many runs there are; None where the channels are not known."""
        if self.runs == "channels":
            return channels
        if not self.runs:
            return 1
        return int(settings[self.runs]) if self.runs in settings else None


@dataclass(frozen=True)
class Estimate:
    """What a method found that runs the model many times.

    Attributes:
        signed: The maps, float [K, *space]: one for each target.
        error: Their standard error, float [K, *space]; None for what is not random.
        facts: What else was found, by name: a number for each target.
        doubts: What looks wrong, in words, for each target; () for nothing.
        relief: The signed values that the maps are made of, float [K, C, *space]; None for none.
        raw: The maps after their negative part was cut off, where that is not all that was done.
    """

    signed: Array
    error: Array | None = None
    facts: Mapping[str, Array] = field(default_factory=dict)
    doubts: tuple[str | None, ...] = ()
    relief: Array | None = None
    raw: Array | None = None


def summary(function: Callable[..., Any]) -> str:
    """Return the first line of a function's docstring."""
    return (function.__doc__ or "").strip().partition("\n")[0]
