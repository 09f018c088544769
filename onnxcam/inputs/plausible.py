"""Recipes that no network was trained with: halves of two, which every picture runs through.

A picture's values go from 0 to 255. What is subtracted must lie among them and what divides must
be of their order, or the recipe mixes numbers for 0 to 1 with such for 0 to 255: the network then
sees the same almost black, or almost empty, tensor for all pictures, and explains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_LEVELS = 255.0
_FLAT = 0.02  # from black to white; the narrowest range that somebody trains with is ten times that


class Recipe(NamedTuple):
    """How pixels become numbers: `(pixel * scale - mean) / std`."""

    scale: float
    mean: Sequence[float]
    std: Sequence[float]


class Fault(NamedTuple):
    """What is wrong with a recipe.

    Attributes:
        field: Which of its numbers.
        text: Why, behind "says".
        hint: What may have been meant.
    """

    field: str
    text: str
    hint: str


def fault(recipe: Recipe) -> Fault | None:
    """Return why a recipe cannot be one for pictures of 0 to 255; None where it can."""
    scale, mean, std = recipe
    top = _LEVELS * abs(scale)
    small = [m for m in mean if 0 < abs(m) <= 1 and top > 2]
    if top >= _LEVELS and small:
        return Fault(
            "mean",
            f"subtracts a mean of {small[0]:g} from pixels of 0 to {top:g}",
            "such a mean is for pixels of 0 to 1: say scale = 0.00392156862745098 (1/255) too",
        )
    large = [m for m in mean if abs(m) > max(top, 1) * 1.001]
    if large:
        return Fault(
            "mean",
            f"subtracts a mean of {large[0]:g} from pixels of 0 to {top:g}",
            "leave scale at 1, or give the mean for pixels of that range",
        )
    if min(std) < 0:
        return Fault("std", f"divides by {min(std):g}", "a standard deviation is above 0")
    if top >= _LEVELS and min(std) < 1:
        return Fault(
            "std",
            f"divides pixels of 0 to {top:g} by {min(std):g}",
            "such a std is for pixels of 0 to 1: say scale = 0.00392156862745098 (1/255) too",
        )
    span = top / max(std)
    if span < _FLAT:
        return Fault(
            "std" if max(std) > 1 else "scale",
            f"makes {span:.2g} of the way from black to white: all pictures become the same",
            "divide by 255 once, as scale or as std",
        )
    return None
