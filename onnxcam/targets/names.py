"""What is explained: a class by index or label, as a scalar per (input, target)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from onnxcam.errors import UsageError

TOP = -1


def resolve_target(
    target: int | str | None, classes: int | None, labels: Sequence[str] | None
) -> int:
    """Return a class index.

    Args:
        target: Index, label (any case; one of several comma-separated names is enough) or None
            for the class with the highest score.
        classes: How many classes the model has, None where that is not known.
        labels: Names of the classes.

    Returns:
        The index; -1 for the class with the highest score.

    Raises:
        UsageError: The index is out of range or the label unknown.
    """
    if target is None:
        return TOP
    text = str(target).strip()
    if isinstance(target, int) or text.lstrip("+-").isdigit():
        return _checked(int(text), classes, labels)
    if not labels:
        raise UsageError(
            f"target {text!r} is a label, but the model has no labels",
            "give the class index, or the labels with `labels=FILE`",
        )
    return _named(text, labels)


def _checked(index: int, classes: int | None, labels: Sequence[str] | None) -> int:
    count = classes or (len(labels) if labels else None)
    if index == TOP:
        return TOP
    if index < 0 or (count is not None and index >= count):
        last = "" if count is None else f" (the model has {count} classes: 0 to {count - 1})"
        raise UsageError(f"class index {index} is out of range{last}", "give one in the range")
    return index


def _named(text: str, labels: Sequence[str]) -> int:
    wanted = text.casefold()
    whole = [i for i, label in enumerate(labels) if label.casefold() == wanted]
    part = [
        i
        for i, label in enumerate(labels)
        if wanted in (name.strip().casefold() for name in label.split(","))
    ]
    found = whole or part
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"label {text!r} belongs to classes {', '.join(map(str, found))}", "give the index"
        )
    names = {n.strip().casefold(): n.strip() for label in labels for n in label.split(",")}
    close = [names[n] for n in difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)]
    hint = f"did you mean {', '.join(map(repr, close))}?" if close else "give the class index"
    raise UsageError(f"no class is called {text!r}", hint)
