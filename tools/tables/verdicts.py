"""What came of a file, in a word, and how a row of it is written down."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

RIGHT, REFUSED, WARNED, WRONG, NOT_MADE = "right", "refused", "warned", "WRONG", "not made"
VERDICTS = (RIGHT, REFUSED, WARNED, WRONG, NOT_MADE)
_ENDLESS = 1e9  # JSON has no infinity


def shares(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how many of the files that were made have each verdict, in words."""
    counts = Counter(r["verdict"] for r in rows)
    share = 100 * counts[RIGHT] / len(rows) if rows else 0.0
    others = ", ".join(f"{counts[v]} {v}" for v in VERDICTS[1:4])
    return f"{counts[RIGHT]} right ({share:.1f} %), {others}"


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON can hold it: three digits, and nothing for what is no number."""
    return {k: _plain(v) for k, v in row.items()}


def one_line(error: Exception) -> str:
    """Return what an error says."""
    return " ".join(str(error).split())[:300]


def _plain(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        return None
    return float(f"{value:.3g}") if math.isfinite(value) else _ENDLESS
