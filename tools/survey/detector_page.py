"""docs/library-detectors.md out of docs/library-detectors.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tables.page import table
from tables.verdicts import NOT_MADE, RIGHT, shares

Row = dict[str, Any]
NEAR = 1e-3
HEAD = """# Detectors of library code

Written by `tools/library_detectors.py` from `library-detectors.json`; a test holds it. Detectors of
other libraries, as their code makes them, with random calibrated weights, exported by TorchScript
and by dynamo at a batch of 1. The surest box of a picture is explained twice: by default (HiResCAM
at the layers of the scales, added up) and by Grad-CAM at its one layer. Compared with the network
in torch are

- **score** and **box** of the row that is found;
- **map** and **Grad-CAM**: relative L2 distance from the same formulas over activations and
  gradients that hooks read at these layers, at most 1e-3, or twice what noise of 1e-6 in the input
  does to torch's own gradient where that is more: units at a kink switch.

Some networks cut gradients off in their code: transformers' RT-DETR and Deformable DETR call
`detach` on the queries they select and on reference points, which trains them better. It changes no
value, so no exporter writes it, and a file cannot know of it. What is explained is the derivative
of what the file computes, and it is compared with the network whose gradients pass there too. How
far hooks on the network as its authors differentiate it lie off that stands beside: **own**. It is
no error of either side: they answer different questions.
"""


def text_of(results: dict[str, Any]) -> str:
    """Return the page."""
    rows: list[Row] = results["rows"]
    made = [r for r in rows if r["verdict"] != NOT_MADE]
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items() if v)
    networks = {(r["library"], r["name"]) for r in made}
    return "\n".join(
        [
            HEAD,
            f"{len(made)} files of {len(networks)} networks: {shares(made)}. Both maps are within "
            f"1e-3 in {sum(_near(r) for r in made)} of them. "
            f"Python {results['python']} with {versions}.\n",
            "## Every file\n",
            _files(made),
            "## What is not right\n",
            _problems([r for r in rows if r["verdict"] != RIGHT]),
        ]
    )


def _near(row: Row) -> bool:
    return all(row[k] is not None and row[k] <= NEAR for k in ("map", "gradcam"))


def _files(rows: Sequence[Row]) -> str:
    lines = [
        ("network", "by", "verdict", "layers", "score", "box", "map", "Grad-CAM", "own: map",
         "own: Grad-CAM")
    ]  # fmt: skip
    for r in rows:
        numbers = (r["map"], r["gradcam"], r["own"], r["own_gradcam"])
        lines.append(
            (
                f"{r['library']} {r['name']}", r["exporter"], r["verdict"],
                " ".join(f"`{name}`" for name in r["layers"]), _short(r["score"]),
                r["box"], *(_short(n) for n in numbers),
            )
        )  # fmt: skip
    return table(lines)


def _short(number: float | None) -> str:
    return "" if number is None else f"{number:.0e}" if number < 0.01 else f"{number:.2g}"


def _problems(rows: Sequence[Row]) -> str:
    lines = [("file", "verdict", "why")]
    for r in rows:
        lines.append((f"{r['library']} {r['name']}, {r['exporter']}", r["verdict"], r["note"]))
    return table(lines) if len(lines) > 1 else "Nothing.\n"
