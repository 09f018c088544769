"""docs/forms.md out of docs/forms.json."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from survey.page import table

Cell = dict[str, Any]
HEAD = """# Exporters and forms

Written by `tools/forms.py` from `forms.json`; a test holds it. One network by every exporter, in
every form that files come in; each is held against the exporter's own float file. **Right** is: the
default layer has the values of the float file's, the map is the same, onnxcam's own check of the
conversion passes, and the explained file, run beside the plain one, predicts the same. The number
is the relative L2 distance of the map from the float file's (limit 1e-6 in float and 2e-3 in half,
or four times what the form itself moves the plain file's output where that is more: a tool that
folds or rounds otherwise has made another function); in int8, Spearman's correlation with it (limit
0.95). Both maps are taken before their ReLU.

An empty cell says that there is no such file (see the end of the page).
"""


def write(folder: Path, *, check: bool) -> int:
    """Write the page, or tell by the exit code whether it is up to date."""
    results, page = folder / "forms.json", folder / "forms.md"
    if not results.exists():
        print("there are no results: run `tools/forms.py run`", file=sys.stderr)
        return 1
    text = text_of(json.loads(results.read_text()))
    if check and (not page.exists() or page.read_text() != text):
        print(f"{page.name} is out of date: run `tools/forms.py page`", file=sys.stderr)
        return 1
    if not check:
        page.write_text(text)
    return 0


def text_of(results: dict[str, Any]) -> str:
    """Return the page."""
    cells: list[Cell] = results["cells"]
    made = [c for c in cells if c["verdict"] != "not made"]
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items() if v)
    parts = [HEAD, f"{len(made)} files: {_said(made)}. By {versions}.\n"]
    for network in dict.fromkeys(c["network"] for c in cells):
        parts += [f"## {network}\n", _grid([c for c in cells if c["network"] == network])]
    parts += ["## What is not right\n", _problems(made), "## What there is not\n"]
    parts += [_absent(results["absent"]), _not_made(cells)]
    return "\n".join(parts)


def _said(cells: Sequence[Cell]) -> str:
    counts = Counter(c["verdict"] for c in cells)
    share = 100 * counts["right"] / len(cells) if cells else 0.0
    others = ", ".join(f"{counts[v]} {v}" for v in ("refused", "warned", "WRONG"))
    return f"{counts['right']} right ({share:.1f} %), {others}"


def _grid(cells: Sequence[Cell]) -> str:
    exporters = list(dict.fromkeys(c["exporter"] for c in cells))
    known = {(c["form"], c["exporter"]): c for c in cells}
    rows = [("form", *exporters)]
    for form in dict.fromkeys(c["form"] for c in cells):
        rows.append((form, *(_mark(known.get((form, e))) for e in exporters)))
    return table(rows)


def _mark(cell: Cell | None) -> str:
    if cell is None or cell["verdict"] == "not made":
        return ""
    if cell["verdict"] != "right":
        return f"**{cell['verdict']}**"
    number = cell["map"]
    if number is None:
        return "right"
    # what is nearer than an ulp differs from machine to machine
    return "same" if number == 0 else f"{number:.2f}" if number > 0.5 else f"{number:.0e}"


def _problems(cells: Sequence[Cell]) -> str:
    rows = [("file", "form", "verdict", "why")]
    for c in cells:
        if c["verdict"] != "right":
            rows.append((f"{c['exporter']}, {c['network']}", c["form"], c["verdict"], c["note"]))
    return table(rows) if len(rows) > 1 else "Nothing.\n"


def _absent(absent: dict[str, str]) -> str:
    return "".join(f"- {name}: {reason}.\n" for name, reason in absent.items())


def _not_made(cells: Sequence[Cell]) -> str:
    reasons: dict[str, list[str]] = {}
    for c in cells:
        if c["verdict"] == "not made":
            where = f"{c['exporter']} {c['network']}"
            reasons.setdefault(f"{c['form']}: {c['note']}", []).append(where)
    return "".join(f"- {reason} ({', '.join(who)})\n" for reason, who in reasons.items())
