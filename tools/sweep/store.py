"""docs/sweep.json: what was measured, of every model, method and picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

METRICS = ("pointing-game", "energy", "deletion", "insertion")
# What has to beat the baselines; these, and the baselines, are measured on all pictures.
PROVEN = ("gradcam", "layercam", "rise", "libragrad")
HELD = frozenset((*PROVEN, "centre", "random", "edges"))


class Store:
    """The numbers of a sweep, written after each method, so that a run can go on with the next.

    Args:
        path: The JSON file: ``{model: {method: {picture: [numbers of METRICS, seconds]}}}``, or
            ``{"error": text}`` for a method that cannot explain the model.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def row(self, model: str, method: str) -> dict[str, Any]:
        """Return what is known of a method, which may be changed."""
        row: dict[str, Any] = self.kept.setdefault(model, {}).setdefault(method, {})
        return row

    def save(self) -> None:
        """Write the file: a line a method, so that a change is read at a glance."""
        lines = []
        for model, rows in self.kept.items():
            inner = ",\n".join(f"  {json.dumps(n)}: {json.dumps(rows[n])}" for n in sorted(rows))
            lines.append(f" {json.dumps(model)}: {{\n{inner}\n }}")
        self.path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
