"""What an explained model shall return, and the names of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from onnxcam.compose.overlay import Drawing
from onnxcam.errors import UsageError
from onnxcam.names import FEATURE, GRADIENT, PREFIX, SCORE, SIGNED, STEEPEST
from onnxcam.targets.names import TOP

Upsampling = Literal["bicubic", "nearest", "none"]
Normalization = Literal["none", "max", "minmax"]


@dataclass(frozen=True)
class Wish:
    """What an explained model shall return.

    Attributes:
        targets: How many targets a call explains: fixed when a number, None for any.
        default: The targets where a call gives none.
        required: Whether every call must give its targets.
        upsampling: How the map comes to the size of the input.
        normalize: How every map is scaled.
        expose: Names of more outputs.
        overlay: How the map is drawn on the input; None where no picture is wanted.
        single: Whether what is explained is computed in float32, whatever the model's precision.

    Raises:
        UsageError: An option is unknown, or the default targets are not as many as a call has.
    """

    targets: int | None = 1
    default: Sequence[int] = (TOP,)
    required: bool = False
    upsampling: Upsampling = "none"
    normalize: Normalization = "none"
    expose: frozenset[str] = field(default_factory=frozenset)
    overlay: Drawing | None = None
    single: bool = False

    def __post_init__(self) -> None:
        """Check the options."""
        _check("upsampling", self.upsampling, get_args(Upsampling))
        _check("normalize", self.normalize, get_args(Normalization))
        for name in sorted(self.expose):
            _check("expose", name, (FEATURE, GRADIENT, SCORE, SIGNED, STEEPEST))
        if self.targets is not None and len(self.default) != self.targets:
            raise UsageError(
                f"{len(self.default)} default targets for a model of {self.targets}",
                "give as many, or targets=None for any number",
            )


def outputs_named(short: Sequence[str]) -> frozenset[str]:
    """Return the names of outputs that are asked for without their prefix."""
    return frozenset(PREFIX + name for name in short)


def _check(what: str, value: str, allowed: Sequence[str]) -> None:
    short = [a.removeprefix(PREFIX) for a in allowed]
    if value not in allowed:
        raise UsageError(
            f"no {what} {value.removeprefix(PREFIX)!r}", f"choose one of {', '.join(short)}"
        )
