"""Figures as the report writes them."""

from __future__ import annotations

from typing import Any

NONE = "\N{EN DASH}"  # stands for what is not known


def number(value: Any, digits: int = 3) -> str:
    """Return a number as the report writes it."""
    if value is None:
        return NONE
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def percent(value: Any) -> str:
    """Return a share in percent."""
    return NONE if value is None else f"{100 * value:.1f} %"
