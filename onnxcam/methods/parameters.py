"""The parameters of methods: what they may be, and what they are in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
        each: Whether there may be a number for each axis: "8x16", or a list.
    """

    name: str
    kind: type[int] | type[float] | type[str]
    default: Setting
    low: float | None
    high: float | None
    help: str
    choices: tuple[str, ...] = ()
    each: bool = False

    @property
    def range(self) -> str:
        """What it may be, in words."""
        if self.kind is str:
            return " or ".join(self.choices) or "any text"
        several = ", or one for each axis, as 8x16" if self.each else ""
        return f"{_number(self.low)} to {_number(self.high)}{several}"

    def checked(self, value: Any) -> Setting:
        """Return a value as this parameter takes it: numbers for each axis as text.

        Raises:
            UsageError: It is of another kind or out of the range.
        """
        many = _several(value) if self.each else None
        if many is not None and len(many) == 1:
            (value,) = many
        elif many is not None:
            one = replace(self, each=False)
            try:
                return "x".join(f"{one.checked(number):g}" for number in many)
            except UsageError as error:
                raise self._refused(value) from error
        if self.kind is str:
            fits = value in self.choices if self.choices else isinstance(value, str)
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            whole = number and math.isfinite(value) and (self.kind is float or value == int(value))
            low = -math.inf if self.low is None else self.low
            high = math.inf if self.high is None else self.high
            fits = whole and low <= value <= high
        if not fits:
            raise self._refused(value)
        return self.kind(value)

    def _refused(self, value: Any) -> UsageError:
        what = {int: "a whole number, ", float: "a number, ", str: ""}[self.kind]
        return UsageError(
            f"{self.name} is {value!r}, and must be {what}{self.range}",
            f"{self.name} is the {self.help} (usually {self.default})",
        )


def _several(value: Any) -> list[Any] | None:
    """Return the numbers of text such as 8x16, or of a list; None for anything else.

    Text of a single number is one as well: a shell has nothing else.
    """
    if isinstance(value, list | tuple) and value:
        return [*value]
    if not isinstance(value, str):
        return None
    try:
        return [float(part) for part in value.split("x")]
    except ValueError:
        return None


def sizes(value: Setting) -> list[float]:
    """Return the numbers of a parameter that has one for all axes, or one for each."""
    return [float(part) for part in str(value).split("x")]


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
