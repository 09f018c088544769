"""Inputs of one shape share a run; one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from onnxcam.errors import OnnxcamError
from onnxcam.inputs import Prepared

T = TypeVar("T")


def in_groups(
    prepared: Iterable[Prepared | OnnxcamError],
    run: Callable[[Sequence[Prepared]], Sequence[T]],
) -> list[T | OnnxcamError]:
    """Return what a run makes of each input, in their order.

    Args:
        prepared: The inputs; for one that cannot be used its error, which is returned.
        run: Takes inputs of one shape, and returns a result of each.
    """
    results: dict[int, T | OnnxcamError] = {}
    groups: dict[tuple[int, ...], list[tuple[int, Prepared]]] = {}
    for i, each in enumerate(prepared):
        if isinstance(each, OnnxcamError):
            results[i] = each
        else:
            groups.setdefault(each.tensor.shape, []).append((i, each))
    for members in groups.values():
        try:
            found: Sequence[T | OnnxcamError] = run([each for _, each in members])
        except OnnxcamError as error:
            found = [error] * len(members)
        results.update((i, result) for (i, _), result in zip(members, found, strict=True))
    return [results[i] for i in sorted(results)]
