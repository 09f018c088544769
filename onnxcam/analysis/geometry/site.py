"""A node, and what is known of the cells that it is given and makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from onnxcam.analysis.geometry.computed import Computed
from onnxcam.analysis.geometry.runs import UNKNOWN, Run
from onnxcam.graph import ir

Runs: TypeAlias = Mapping[str, Run]


@dataclass(frozen=True)
class Site:
    """A node, and what is known of its input that holds data and of an output.

    Attributes:
        node: The node.
        output: Which output.
        letters: The direction of space of each axis of the input, "" for another meaning.
        counts: How many cells the output has, by direction; NaN where that is not known.
        runs: The input's cells, by direction.
        parts: The cells of each input that is joined; None for those not of the picture.
        computed: What the graph computes from the input's sizes.
    """

    node: ir.Node
    output: int
    letters: Sequence[str]
    counts: Mapping[str, float]
    runs: Runs
    parts: Sequence[Runs | None]
    computed: Computed

    @property
    def name(self) -> str:
        """What a reader finds the node by."""
        return f"{self.node.op} {self.node.name or self.node.outputs[0].name!r}"

    def count(self, letter: str) -> float:
        """Return how many cells the output has along a direction."""
        return self.counts.get(letter, UNKNOWN)

    def letter(self, axis: int) -> str:
        """Return the direction of space that an axis of the input is; "" for none."""
        letter = self.letters[axis] if axis < len(self.letters) else ""
        return letter if letter in self.runs else ""


Rule: TypeAlias = Callable[[Site], "dict[str, Run]"]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter ``rule(site)``: it returns the cells of the directions that a node changes."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return enter


def unsure(site: Site, letters: Sequence[str], why: str) -> dict[str, Run]:
    """Return the cells of some directions where their place is not known."""
    return {c: site.runs[c].unsure(f"{site.name} {why}") for c in letters}


def text(value: object) -> str:
    """Return an attribute that is text."""
    return value.decode() if isinstance(value, bytes) else str(value)
