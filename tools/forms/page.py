"""docs/forms.md out of docs/forms.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tables.page import table
from tables.verdicts import NOT_MADE, RIGHT, shares

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

The weights are random, but such that signals neither die away nor drown in rounding. Of a map that
varies by one percent of its mean Spearman's correlation finds the rounding of the feature layer
alone: networks of keras and Paddle with their own random weights had 0.78 to 0.87 in int8, and the
rounded feature layer (39 dB) under the float file's gradient had the same, while the float feature
layer under the int8 file's gradient had 1.00. Where int8 is not right, the table says both numbers.

For MATLAB, Caffe2 and CNTK a published file by them stands in, of another network. An empty cell
says that there is no such file (see the end of the page) or that it has not been run yet.
"""


def text_of(results: dict[str, Any]) -> str:
    """Return the page."""
    cells: list[Cell] = results["rows"]
    made = [c for c in cells if c["verdict"] != NOT_MADE]
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items() if v)
    parts = [HEAD, f"{len(made)} files: {shares(made)}. By {versions}.\n"]
    for network in dict.fromkeys(c["network"] for c in cells):
        parts += [f"## {network}\n", _grid([c for c in cells if c["network"] == network])]
    parts += ["## What is not right\n", _problems(made), "## What there is not\n"]
    parts += [_absent(results["absent"]), _not_made(cells)]
    return "\n".join(parts)


def _grid(cells: Sequence[Cell]) -> str:
    exporters = list(dict.fromkeys(c["exporter"] for c in cells))
    known = {(c["form"], c["exporter"]): c for c in cells}
    rows = [("form", *exporters)]
    for form in dict.fromkeys(c["form"] for c in cells):
        rows.append((form, *(_mark(known.get((form, e))) for e in exporters)))
    return table(rows)


def _mark(cell: Cell | None) -> str:
    if cell is None or cell["verdict"] == NOT_MADE:
        return ""
    if cell["verdict"] != RIGHT:
        return f"**{cell['verdict']}**"
    number = cell["map"]
    if number is None:
        return "right"
    # what is nearer than an ulp differs from machine to machine
    return "same" if number == 0 else f"{number:.2f}" if number > 0.5 else f"{number:.0e}"


def _problems(cells: Sequence[Cell]) -> str:
    rows = [("file", "form", "verdict", "why")]
    for c in cells:
        if c["verdict"] != RIGHT:
            rows.append((f"{c['exporter']}, {c['network']}", c["form"], c["verdict"], c["note"]))
    return table(rows) if len(rows) > 1 else "Nothing.\n"


def _absent(absent: dict[str, str]) -> str:
    return "".join(f"- {name}: {reason}.\n" for name, reason in absent.items())


def _not_made(cells: Sequence[Cell]) -> str:
    reasons: dict[str, list[str]] = {}
    for c in cells:
        if c["verdict"] == NOT_MADE:
            where = f"{c['exporter']} {c['network']}"
            reasons.setdefault(f"{c['form']}: {c['note']}", []).append(where)
    return "".join(f"- {reason} ({', '.join(who)})\n" for reason, who in reasons.items())
