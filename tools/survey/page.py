"""docs/library-survey.md out of docs/library-survey.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tables.page import table
from tables.verdicts import NOT_MADE, RIGHT, VERDICTS, shares

Row = dict[str, Any]
HEAD = """# Exports of library code

Written by `tools/library_survey.py` from `library-survey.json`; a test holds it. Networks of other
libraries, as their code makes them, with random calibrated weights; exported by TorchScript (the
batch open) and by dynamo (a batch of 1); explained with Grad-CAM at the default layer. A file is

- **right**: the default layer is the library's own last stage (timm: `feature_info`) or behind it
  (of a detector, the last layer that the scores of every scale pass through; of SqueezeNet the maps
  of its classes, which it pools) and its gradient is not in a class token alone; scores, gradients
  of feature layer and input and the map agree with the network in torch, in float64, with the axes
  laid as the library has them (relative L2 of 1e-3; for gradients and map twice what noise of 1e-6
  in the input does to torch's own where that is more: units at a kink switch); the conversion's
  check passes, and the converted file, run beside the plain one, predicts the same and places the
  map over the input;
- **refused**: an error that says why, and no map;
- **warned**: something is wrong and the explanation says so;
- **WRONG**: something is wrong and nothing says so;
- not made: the library or the exporter failed, and there is no file.
"""


def text_of(results: dict[str, Any]) -> str:
    """Return the page."""
    rows: list[Row] = results["rows"]
    made = [r for r in rows if r["verdict"] != NOT_MADE]
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items() if v)
    networks = {(r["library"], r["name"]) for r in made}
    parts = [
        HEAD,
        f"{len(made)} files of {len(networks)} networks: {shares(made)}. "
        f"Python {results['python']} with {versions}; everything on the CPU.\n",
        _agreement(made),
        _summary(rows),
        *_costs(made),
        "## What is not right\n",
        _problems(r for r in rows if r["verdict"] != RIGHT),
        "## Every file\n",
        _files(made),
    ]
    return "\n".join(parts)


def _agreement(rows: Sequence[Row]) -> str:
    """Say for how many the default layer is the library's own, and the map that of hooks."""
    known = {(r["library"], r["name"]) for r in rows}
    other = {(r["library"], r["name"]) for r in rows if not r["module"] or r["kind"] == "layers"}
    near = sum(r["map"] is not None and r["map"] <= 1e-3 for r in rows)
    return (
        f"Of {len(known - other)} of the {len(known)} networks the default layer is the library's "
        "last stage, or behind it, in every file; Grad-CAM is within 1e-3 of that by hooks on the "
        f"network in {near} of the {len(rows)} files.\n"
    )


def _summary(rows: Sequence[Row]) -> str:
    lines = [("library", *VERDICTS)]
    for library in dict.fromkeys(r["library"] for r in rows):
        counts = Counter(r["verdict"] for r in rows if r["library"] == library)
        lines.append((library, *(str(counts[v] or "") for v in VERDICTS)))
    return table(lines)


def _costs(rows: Sequence[Row]) -> list[str]:
    costs = sorted(r["cost"] for r in rows if r["cost"] is not None)
    if not costs:
        return []
    within = sum(c <= 1.05 for c in costs)
    return [
        f"Explained / plain, of the {len(costs)} files for which it was measured and that take "
        f"over 1 ms, processor time on one thread of a busy machine: median "
        f"{costs[len(costs) // 2]:.2f}, {within} within 1.05, the most {costs[-1]:.2f}. The "
        "pictures are small ones, of about 96 x 128. What is above are detectors, whose gradient "
        "comes back through neck and heads, and networks of a few milliseconds with a head of "
        "convolutions behind the layer; at the size that they are made for a head is a smaller "
        "part.\n"
    ]


def _problems(rows: Iterable[Row]) -> str:
    lines = [("file", "verdict", "what", "why")]
    for r in rows:
        name = f"{r['library']} {r['name']}, {r['exporter']}"
        lines.append((name, r["verdict"], r["kind"], r["note"]))
    return table(lines) if len(lines) > 1 else "Nothing.\n"


def _files(rows: Sequence[Row]) -> str:
    lines = [
        (
            "network",
            "by",
            "verdict",
            "default layer",
            "shape",
            "score",
            "dy/dx",
            "dy/dA",
            "map",
            "cost",
        )
    ]
    for r in rows:
        numbers = (r["score"], r["input_gradient"], r["gradient"], r["map"])
        lines.append(
            (
                f"{r['library']} {r['name']}", r["exporter"], r["verdict"],
                f"`{r['module']}`" if r["module"] else "", " x ".join(map(str, r["shape"])),
                *("" if n is None else f"{n:.0e}" for n in numbers),
                "" if r["cost"] is None else f"{r['cost']:.2f}",
            )
        )  # fmt: skip
    return table(lines)
