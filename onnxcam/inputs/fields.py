"""The fields of an input description: what each may hold, and the message when it does not."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from onnxcam.errors import UsageError

CHANNELS: Mapping[str, int] = {"RGB": 3, "BGR": 3, "GRAY": 1}
RESIZE = ("shortest", "stretch", "none")
INTERPOLATION = ("bilinear", "bicubic", "nearest", "lanczos")


def check_fields(said: Mapping[str, object], where: str) -> dict[str, Any]:
    """Check a (partial) description.

    Args:
        said: Field names and values, as TOML or JSON gives them.
        where: Who says so, for the message, such as `"model.toml"`.

    Returns:
        The same fields, lists made tuples and numbers made floats where that is the field's type.

    Raises:
        UsageError: A field is unknown (the nearest names are given) or has a wrong value, or
            `resize` and `resize_size` do not go together.
    """
    checked: dict[str, Any] = {}
    for name, value in said.items():
        if name not in FIELDS:
            raise unknown(f"{where}: unknown key", name, FIELDS)
        expected, check = FIELDS[name]
        try:
            checked[name] = check(value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{where}: {name} = {value!r} is wrong", f"Give {expected}") from error
    rule, has_pixels = checked.get("resize"), "resize_size" in checked
    if rule == "shortest" and not has_pixels:
        raise UsageError(f'{where}: resize = "shortest" without resize_size', "Say resize_size too")
    if rule in (None, "none") and has_pixels:
        raise UsageError(
            f"{where}: resize_size without a resize that uses it",
            'Say resize = "shortest" (keeps the aspect) or "stretch", or drop resize_size',
        )
    return checked


def unknown(what: str, name: str, known: Mapping[str, object]) -> UsageError:
    """Return the error for a name that is none of `known`, with the nearest ones in its hint."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(known)}"
    return UsageError(f"{what} {name!r}", hint)


def _layout(value: object) -> str:
    """Check axis letters, each once."""
    if not isinstance(value, str) or not (value.isascii() and value.isalpha() and value.isupper()):
        raise ValueError
    if len(set(value)) != len(value):
        raise ValueError
    return value


def _one_of(allowed: Mapping[str, object] | tuple[str, ...]) -> Callable[[object], str]:
    """Return the check for one of a few words."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError
        return value

    return check


def _dtype(value: object) -> str:
    """Check the form of a type's name; which one it may be is the model's to say."""
    if not isinstance(value, str) or not value.isidentifier():
        raise ValueError
    return value


def _count(value: object) -> int:
    """Check a whole number above 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError
    return value


def _size(value: object) -> tuple[int, int]:
    """Check [height, width]."""
    if not isinstance(value, list | tuple):
        raise TypeError
    height, width = value
    return _count(height), _count(width)


def _number(value: object) -> float:
    """Check a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _nonzero(value: object) -> float:
    """Check a finite number that is not 0."""
    if (number := _number(value)) == 0:
        raise ValueError
    return number


def _numbers(check: Callable[[object], float]) -> Callable[[object], tuple[float, ...]]:
    """Return the check for one number or one a channel."""

    def check_all(value: object) -> tuple[float, ...]:
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        if len(values) not in (1, 3):
            raise ValueError
        return tuple(check(number) for number in values)

    return check_all


def _labels(value: object) -> tuple[str, ...]:
    """Check a list of names."""
    if not isinstance(value, list | tuple) or not value:
        raise TypeError
    if not all(isinstance(name, str) for name in value):
        raise TypeError
    return tuple(value)


def _table(value: object) -> tuple[tuple[str, Any], ...]:
    """Check a table of words, numbers and lists of these; pairs stand for one."""
    pairs = value.items() if isinstance(value, Mapping) else value
    if not isinstance(pairs, Iterable) or isinstance(pairs, str):
        raise TypeError
    found = []
    for key, each in (tuple(pair) for pair in pairs):
        if not isinstance(key, str):
            raise ValueError
        found.append((key, _words_or_numbers(each)))
    return tuple(found)


def _words_or_numbers(value: object) -> Any:
    """Check words and numbers, and lists of them, which become tuples."""
    if isinstance(value, list | tuple):
        return tuple(map(_words_or_numbers, value))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    return value


def _truth(value: object) -> bool:
    """Check true or false."""
    if not isinstance(value, bool):
        raise TypeError
    return value


def _words(allowed: Mapping[str, object] | tuple[str, ...]) -> str:
    """Return the allowed words as a hint shows them."""
    return "one of " + ", ".join(f'"{word}"' for word in allowed)


FIELDS: Mapping[str, tuple[str, Callable[[object], Any]]] = {
    "layout": ('different axis letters such as "NCHW", "NHWC" or "NCW"', _layout),
    "size": ("[height, width] in pixels, such as [224, 224]", _size),
    "resize": (_words(RESIZE), _one_of(RESIZE)),
    "resize_size": ("a whole number of pixels, such as 256", _count),
    "interpolation": (_words(INTERPOLATION), _one_of(INTERPOLATION)),
    "channels": (_words(CHANNELS), _one_of(CHANNELS)),
    "scale": ("a number other than 0, such as 0.00392156862745098 for 1/255", _nonzero),
    "mean": ("one number, or a list of three (one a channel)", _numbers(_number)),
    "std": ("one number other than 0, or a list of three", _numbers(_nonzero)),
    "dtype": ('the name of a NumPy type, such as "float32" or "uint8"', _dtype),
    "labels": ("a list of names, or in TOML the name of a file beside it", _labels),
    "detector": ("a table, [detector], with keys such as boxes, scores and format", _table),
    "pictures": ("true, or false where only ready arrays are taken", _truth),
}
