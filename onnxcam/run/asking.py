"""What a call asks of each of its inputs: the same targets of all, or a list of them for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from onnxcam.analysis.layers import Reduction
from onnxcam.errors import UsageError
from onnxcam.targets import Target, Wanted, as_targets, is_several, resolved

Pairs: TypeAlias = "list[tuple[Target, int]]"  # targets without their class, and its index


@dataclass(frozen=True)
class Asking:
    """The targets of a call.

    Attributes:
        lists: Targets of each input; one list for all where ``each`` is false.
        listed: Whether an input has a list of results.
        each: Whether every input has targets of its own.
    """

    lists: tuple[Pairs, ...]
    listed: bool
    each: bool

    def of(self, number: int, rows: int, *, single: bool) -> list[Pairs]:
        """Return the targets of every row of an input.

        Args:
            number: The place of the input among those of the call.
            rows: How many inputs it holds.
            single: Whether it is all that the call gives: then the lists are of its rows.

        Raises:
            UsageError: There are not as many lists as inputs.
        """
        if not self.each:
            return [self.lists[0]] * rows
        if single:
            self.check(rows)
            return list(self.lists)
        if number >= len(self.lists):
            raise UsageError(
                f"{len(self.lists)} lists of targets for more inputs than that",
                "give one list for each input, or one list of targets for all",
            )
        return [self.lists[number]] * rows

    def check(self, inputs: int | None) -> None:
        """Check that there are as many lists as inputs, where that is known.

        Raises:
            UsageError: There are not.
        """
        if self.each and inputs is not None and inputs != len(self.lists):
            raise UsageError(
                f"{len(self.lists)} lists of targets for {inputs} input{'s' * (inputs != 1)}",
                "give one list for each input, or one list of targets for all",
            )


def asking(
    target: Wanted | Sequence[Wanted] | Sequence[Sequence[Wanted]],
    reduction: Callable[[Target], Reduction],
    labels: Callable[[], Sequence[str] | None],
    scores: Callable[[Any], Any],
) -> Asking:
    """Return what a call asks for.

    Args:
        target: One target, a list of them, or a list of these for each input.
        reduction: Returns what is known of the scores that a target speaks of.
        labels: Returns the names of the classes; asked where a target names one.
        scores: Returns the scores of an input that a target refers to.

    Raises:
        UsageError: There is no such class, or lists and targets stand side by side.
    """
    rows: list[Any] = [*target] if is_several(target) else []  # type: ignore[misc]
    each = [is_several(row) for row in rows]
    if any(each) and not all(each):
        raise UsageError(
            "lists of targets and targets stand side by side",
            "give a list for each input, or one list of targets for all",
        )
    lists: list[Any] = rows if any(each) else [target]
    targets = [[t.referred(scores) for t in as_targets(row)] for row in lists]
    names = labels() if any(t.names_labels for row in targets for t in row) else None
    pairs = tuple(_resolved(row, reduction, names) for row in targets)
    return Asking(pairs, is_several(target), any(each))


def _resolved(
    targets: Sequence[Target],
    reduction: Callable[[Target], Reduction],
    labels: Sequence[str] | None,
) -> Pairs:
    """Return targets without their classes, and the index of each, by the scores of each."""
    if not targets:
        raise UsageError("no target is given", "give a class, or None for the top class")
    return [pair for t in targets for pair in resolved([t], reduction(t), labels)]
