"""docs/benchmarks.md, its plot and the README's figures, from docs/benchmarks.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.limits import TIME
from bench.plot import dots, number

Row = Mapping[str, Any]
_NAMES = {
    "resnet50": "ResNet-50", "efficientnet_b0": "EfficientNet-B0", "densenet121": "DenseNet-121",
    "mobilenet_v2": "MobileNetV2", "deit_s": "DeiT-S", "vit_b": "ViT-B", "vgg16": "VGG16",
}  # fmt: skip
_BLOCK = re.compile(r"(?<=<!-- benchmark -->\n).*?(?=<!-- /benchmark -->)", re.DOTALL)
_HEAD = """# What explaining costs

Written by `tools/bench.py page` from `docs/benchmarks.json`, which these commands fill:

```sh
python tools/bench.py limits --clock cpu --json docs/benchmarks.json
python tools/bench.py peers --clock cpu --json docs/benchmarks.json
python tools/bench.py files models ../shared/models --clock cpu --json docs/benchmarks.json
```

F is plain inference of the same model in ONNX Runtime, in the same process. The calls run in
turns and what counts is the median of the ratios of neighbouring calls; in brackets its bootstrap
interval of 95 %. One thread everywhere, which does not spin; the clock is the processor's time,
which on one thread is the wall's on an idle machine. Networks of real size with random weights,
inputs of 224 x 224. Only ratios are worth reading: the machine is a small one that others used at
the same time, and differences below 0.02 are its noise.
"""
_PEERS_TEXT = """## Beside other tools

![What an explanation costs](benchmarks.svg)

Batch 1; the top class; prediction and map at the input's size. "Own" compares with plain inference
in the tool's own framework, which is the fairer question for who runs torch anyway. "Same map" is
the correlation with onnxcam's map, where the tool makes Grad-CAM too: what is missing to 1 is the
way of enlarging it. The tuned Grad-CAM runs the body without gradients and autograd on the head
only. Captum is told the class beforehand. Recipro-CAM's branch makes the maps of all classes, and
leaves them small. RISE runs as DIANNA sets it up, with 1000 masks and 900 to find how much a mask
keeps; two rounds of it were timed.
"""
_SECTIONS = {
    """## The explained model against the plain one

The file that `onnxcam convert` writes: prediction, class and map, enlarged in the graph.
""": ("explained",),
    """## The gradient of the input

Prediction and full gradient of the input in one call, and what building such a model takes.

Where the time goes, by ONNX Runtime's profiler: it convolves in a blocked layout of channels, and
what lies between two convolutions of a gradient, a mask and a product, runs in the plain one.
Bringing activations and gradients there and back takes 8 % of ResNet-50's call and 22 % of
MobileNetV2's, the masks themselves 3 % and 15 %. ResNet-50's strided convolutions go back as
ConvTranspose, 13 %; one Conv for all phases and a DepthToSpace was slower.
""": ("gradient",),
    """## Converting, OpenVINO, Python

What `onnxcam convert` takes in memory beyond an idle process; the explained model against the plain
one in OpenVINO; what Python adds to a warm explanation. The file's weights are mapped, which counts
as memory once. The check runs both models, and a session of ONNX Runtime holds copies of its own.
""": ("convert", "openvino", "overhead"),
}

_FILES_TEXT = """## Every file at hand

The models of `models/` and others that people have published, explained by Grad-CAM at the default
layer, one input, on one thread. The limit is 1.05 F, and 1.2 F for signals; a file that takes less
than a millisecond has none: there the calls of a few nodes are measured, whatever they do. Over it
are two detectors of faces, P-Net and UltraFace: their layer stands before the heads (UltraFace: of
every scale), and the gradient comes back through all of them. The int8 file lies between 1.04 and
1.07 from one run to the next.
"""


def pages(root: Path) -> dict[Path, str]:
    """Return the files as they should be.

    Args:
        root: The repository.
    """
    docs, readme = root / "docs", root / "README.md"
    content = json.loads((docs / "benchmarks.json").read_text())
    return {
        docs / "benchmarks.md": _page(content),
        docs / "benchmarks.svg": _plot(content["peers"]["results"]),
        readme: _BLOCK.sub(lambda _: _summary(content), readme.read_text()),
    }


def _page(content: Mapping[str, Any]) -> str:
    limits, peers = content["limits"]["results"], content["peers"]["results"]
    parts = [_HEAD, _PEERS_TEXT, _peers(peers), _missing(peers)]
    for text, groups in _SECTIONS.items():
        rows = [r for r in limits if r["group"] in groups]
        parts += [text, _limits(rows)] if rows else []
    if "files" in content:
        parts += [_FILES_TEXT, _files(content["files"]["results"])]
    return "\n".join([*filter(None, parts), _circumstances(content)])


def _peers(rows: Sequence[Row]) -> str:
    cells = [
        [_name(r), r["label"], _interval(r["ratio"]), _interval(r["own"]),
         "" if r["correlation"] is None else f"{r['correlation']:.4f}"]
        for r in rows if r["ratio"]
    ]  # fmt: skip
    return _table(["network", "tool", "time / F", "time / own F", "same map"], cells)


def _missing(rows: Sequence[Row]) -> str:
    return "\n".join(
        f"Not measured: {r['label']} on {_name(r)}: {r['problem']}" for r in rows if r["problem"]
    )


def _limits(rows: Sequence[Row]) -> str:
    cells = [
        [_name(r), r["what"], str(r["batch"]), r["quantity"], _value(r), f"{r['limit']:g}",
         "yes" if r["passed"] else "**no**"]
        for r in rows
    ]  # fmt: skip
    return _table(["network", "what", "batch", "quantity", "value", "limit", "kept"], cells)


def _files(rows: Sequence[Row]) -> str:
    cells = [
        [r["subject"], f"{r['plain_ms']:.2f}", _precise(r["ratio"]),
         "" if r["limit"] is None else f"{r['limit']:g}", str(r["emitted"]),
         "" if r["limit"] is None else "yes" if r["passed"] else "**no**"]
        for r in rows if r["ratio"]
    ]  # fmt: skip
    refused = "".join(f"\nRefused: {r['subject']}: {r['problem']}\n" for r in rows if r["problem"])
    head = ["file", "F ms", "time / F", "limit", "nodes added", "kept"]
    return _table(head, cells) + refused


def _circumstances(content: Mapping[str, Any]) -> str:
    lines = ["## Machine and versions\n"]
    for name, section in content.items():
        machine, settings = section["machine"], section["settings"]
        found = dict(section["versions"])
        for row in section["results"]:
            found = row.get("versions", {}) | found
        said = ", ".join(f"{k} {v}" for k, v in found.items())
        lines.append(
            f"- {name}: {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; "
            f"{settings['runs']} rounds, {settings['threads']} thread(s); {said}"
        )
    return "\n".join([*lines, ""])


def _plot(rows: Sequence[Row]) -> str:
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for r in rows:
        if r["ratio"]:
            ratio = r["ratio"]
            interval = (ratio["low"], ratio["median"], ratio["high"])
            found.setdefault(r["label"], {})[_name(r)] = interval
    title = "What an explanation costs, in plain inferences"
    return dots(title, found, "prediction and map / plain inference in ONNX Runtime (log)")


def _summary(content: Mapping[str, Any]) -> str:
    """Return the README's table: every tool on every network, and the explained models."""
    peers = [r for r in content["peers"]["results"] if r["ratio"]]
    networks = list(dict.fromkeys(_name(r) for r in peers))
    values = {(r["label"], _name(r)): number(r["ratio"]["median"]) for r in peers}
    labels = dict.fromkeys(r["label"] for r in peers)
    cells = [[label, *(values.get((label, n), "") for n in networks)] for label in labels]
    kept = [
        r for r in content["limits"]["results"]
        if (r["group"], r["what"], r["batch"], r["quantity"]) == ("explained", "gradcam", 1, TIME)
    ]  # fmt: skip
    also = ", ".join(f"{_name(r)} {number(r['value'])}" for r in kept)
    table = _table(["time / plain inference", *networks], cells)
    return f"{table}\nThe explained model, measured once more with other networks: {also}.\n"


def _name(row: Row) -> str:
    subject: str = row["subject"]
    return _NAMES.get(subject, subject)


def _value(row: Row) -> str:
    if row["interval"] is None:
        return f"{row['value']:.2f}"
    return "{:.3f} ({:.3f} .. {:.3f})".format(row["value"], *row["interval"])


def _precise(ratio: Row) -> str:
    return f"{ratio['median']:.3f} ({ratio['low']:.3f} .. {ratio['high']:.3f})"


def _interval(ratio: Row) -> str:
    low, median, high = (number(ratio[name]) for name in ("low", "median", "high"))
    return f"{median} ({low} .. {high})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
