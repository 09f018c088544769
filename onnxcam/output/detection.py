"""One finding of a detector: its class, how sure it is, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Detected:
    """What a detector found.

    Attributes:
        row: Its place among the model's boxes.
        target: Index of its class.
        label: The name of that, None where nothing says it.
        probability: How sure the model is of it, 0 to 1.
        box: Left, top, right and bottom in pixels of the picture (of the input where that is an
            array); None where how the model writes its boxes is not known.
    """

    row: int
    target: int
    label: str | None
    probability: float
    box: tuple[float, float, float, float] | None

    @property
    def name(self) -> str:
        """Its class, in words."""
        return self.label or f"class {self.target}"

    @property
    def title(self) -> str:
        """Its class and how sure it is."""
        return f"{self.name} {100 * self.probability:.0f} %"

    def __str__(self) -> str:
        """Return it in words: class, probability, row and place."""
        place = "" if self.box is None else f" at {', '.join(f'{e:.0f}' for e in self.box)}"
        return f"box {self.row}: {self.title}{place}"

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "row": self.row,
            "class": self.target,
            "label": self.label,
            "probability": self.probability,
            "box": None if self.box is None else list(self.box),
        }
