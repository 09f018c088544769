"""The parameters of methods: what they may be, and what they are in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from onnxcam.errors import UsageError

Setting: TypeAlias = "int | float | str"


@dataclass(frozen=True)
class Parameter:
    """A parameter of a method.

    Attributes:
        name: What users type, and the name of the argument of the method's function.
        kind: int, float or str.
        default: Its value where nothing is said.
        low: The smallest value that it may have; None for a str.
        high: The largest.
        help: What it is, in words, with its unit.
        choices: What a str may be; () for any text.
    """

    name: str
    kind: type[int] | type[float] | type[str]
    default: Setting
    low: float | None
    high: float | None
    help: str
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """What it may be, in words."""
        if self.kind is str:
            return " or ".join(self.choices) or "any text"
        return f"{_number(self.low)} to {_number(self.high)}"

    def checked(self, value: Any) -> Setting:
        """Return a value as this parameter takes it.

        Raises:
            UsageError: It is of another kind or out of the range.
        """
        if self.kind is str:
            fits = value in self.choices if self.choices else isinstance(value, str)
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            whole = number and math.isfinite(value) and (self.kind is float or value == int(value))
            low = -math.inf if self.low is None else self.low
            high = math.inf if self.high is None else self.high
            fits = whole and low <= value <= high
        if not fits:
            what = {int: "a whole number, ", float: "a number, ", str: ""}[self.kind]
            raise UsageError(
                f"{self.name} is {value!r}, and must be {what}{self.range}",
                f"{self.name} is the {self.help} (usually {self.default})",
            )
        return self.kind(value)


AUGMENT = Parameter(
    "augment", str, "none", None, None,
    "changes of the picture that maps are averaged over: mirrored, or mirrored and at 0.9, 1 and "
    "1.1 of its values",
    ("none", "flip", "flip-scale"),
)  # fmt: skip
SMOOTHING = Parameter(
    "smoothing", str, "none", None, None,
    "way to put the weighted channels together: their sum, or with eigen their principal component",
    ("none", "eigen"),
)  # fmt: skip


def _number(value: float | None) -> str:
    whole = value is not None and value == int(value)
    return f"{int(value):,}" if value is not None and whole else f"{value:g}"


def checked(
    method: str, parameters: Sequence[Parameter], given: Mapping[str, Any]
) -> dict[str, Setting]:
    """Return a value for every parameter of a method: what is given, else its default.

    Args:
        method: Name of the method.
        parameters: Its parameters.
        given: Values by name.

    Raises:
        UsageError: A value is out of its range, or the method has no such parameter.
    """
    known = {p.name: p for p in parameters}
    for name in given:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise UsageError(f"{method} has no parameter {name!r}", has)
    return {name: p.checked(given.get(name, p.default)) for name, p in known.items()}
