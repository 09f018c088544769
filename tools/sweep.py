"""Hold every method against photographs with boxes, and write docs/sweep.md.

    python tools/sweep.py run                       # all methods; minutes a model
    python tools/sweep.py run --only rise --photographs 5
    python tools/sweep.py page                      # the page from docs/sweep.json
    python tools/sweep.py page --check

Every method explains the class that the model sees, by few runs; what cannot have it says why. The
maps are measured by localisation (pointing game, energy: do they lie in the box?) and faithfulness
(deletion, insertion: does the score follow them?), and beside them maps that know nothing of the
model. A method that does not beat these is broken, or not made for the model: it stands out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]
RESULTS = ROOT / "docs" / "sweep.json"

# Cheap budgets: the table is to tell broken from sound, not to be the last word.
FEW: dict[str, dict[str, Any]] = {
    "rise": {"masks": 600}, "lime": {"samples": 200}, "kernel-shap": {"samples": 200},
    "sobol": {"designs": 4, "cells": 7}, "hsic": {"samples": 200}, "ss-cam": {"samples": 1},
    "is-cam": {"steps": 1}, "aise": {"evaluations": 20}, "smoothgrad": {"samples": 12},
    "vargrad": {"samples": 12}, "smooth-gradcam++": {"samples": 12},
    "integrated-gradients": {"steps": 12}, "guided-integrated-gradients": {"steps": 12},
    "expected-gradients": {"samples": 12}, "xrai": {"steps": 12},
    "occlusion": {"stride": 0.12}, "sess": {"scales": 3}, "shapley-sampling": {"orders": 4},
    "squaregrad": {"samples": 12}, "blur-integrated-gradients": {"steps": 12},
    "conductance": {"steps": 12}, "internal-influence": {"steps": 12},
}  # fmt: skip
SLOW = ("score-cam", "ss-cam", "is-cam")  # a run of the whole model for each channel
METRICS = ("pointing-game", "energy", "deletion", "insertion")
_STEPS, _BUDGET = 10, 300
MODELS: dict[str, tuple[str, str | None]] = {  # file, and how its pictures are prepared
    "mobilenetv2": ("models/mobilenetv2.onnx", None),
    "squeezenet1.1": ("models/squeezenet1.1.onnx", None),
    "efficientnet-lite0": ("models/efficientnet-lite0_torch_dynamo.onnx",
                           str(ROOT / "tools" / "sweep" / "lite0.toml")),
    "digits-vit": ("digits-vit.onnx", None),  # trained here, in minutes
}  # fmt: skip


def main() -> int:
    """Run the tool; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="explain and measure")
    run.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="photographs")
    run.add_argument("--only", action="append", help="a method")
    run.add_argument("--model", action="append", help="a model, by its name in the table")
    run.add_argument("--photographs", type=int, default=12, help="of each model")
    run.add_argument("--folder", type=Path, default=Path("/tmp/onnxcam-sweep"),
                     help="where the transformer is kept, which is trained here")  # fmt: skip
    run.add_argument("--results", type=Path, default=RESULTS, help="the JSON file")
    page = commands.add_parser("page", help="write the page from the JSON file")
    page.add_argument("--check", action="store_true", help="compare, do not write")
    options = parser.parse_args()
    if options.command == "run":
        for name, (path, preprocess) in MODELS.items():
            if not options.model or name in options.model:
                _sweep(name, path, preprocess, options)
        return 0
    from sweep.page import write

    return write(RESULTS, ROOT / "docs" / "sweep.md", check=options.check)


def _place(model: str, path: str, options: argparse.Namespace) -> Path:
    if model == "digits-vit":
        from sweep.digits_vit import made

        options.folder.mkdir(exist_ok=True)
        return made(options.folder / path)
    return (options.shared / path) if path.startswith("models/eff") else ROOT / path


def _sweep(model: str, file: str, preprocess: Any, options: argparse.Namespace) -> None:
    from sweep.subjects import digits, photographs, usable

    from onnxcam import Explainer, methods
    from onnxcam.metrics import BASELINES, Evidence, Sample, table

    path = _place(model, file, options)
    how: dict[str, Any] = {"threads": 1, "device": "cpu", "preprocess": preprocess}
    plain = Explainer(path, "gradcam", **how)
    boxed = digits() if model == "digits-vit" else photographs(options.shared)
    chosen = usable(plain, boxed, options.photographs)
    kept = json.loads(options.results.read_text()) if options.results.exists() else {}
    found = kept.setdefault(model, {})
    rows = found.setdefault("methods", {})
    curves = {"steps": _STEPS, "batch_size": 11}
    settings = {"deletion": curves, "insertion": curves}

    def measured(maps: dict[str, Any], each: Any) -> dict[str, dict[str, float]]:
        (first, *_) = maps.values()
        mask = each.mask(first.map.shape, plain_maps[each.name].box)
        held = Evidence(plain.predict, mask)
        return table(maps, held, METRICS, baselines=False, options=settings)

    plain_maps = {each.name: plain(each.picture, target=k) for each, k in chosen}
    for name in [*BASELINES, *methods.names()]:
        if options.only and name not in options.only:
            continue
        start, numbers = time.monotonic(), []
        try:
            if name not in BASELINES:
                budget = _BUDGET if name in SLOW else None
                explain = Explainer(path, name, parameters=FEW.get(name), budget=budget, **how)
            for each, k in chosen:
                first = plain_maps[each.name]
                made = (
                    Sample(BASELINES[name](first), first.tensor, first.layout, first.target)
                    if name in BASELINES
                    else explain(each.picture, target=k)
                )
                numbers.append(measured({name: made}, each)[name])
            each_one = round((time.monotonic() - start) / len(chosen), 2)
            rows[name] = {"pictures": len(chosen), "seconds": each_one,
                          **{m: _mean(numbers, m) for m in METRICS}}  # fmt: skip
        except Exception as error:  # noqa: BLE001 - what cannot be explained says why in the table
            rows[name] = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(model, name, rows[name], flush=True)
        options.results.write_text(json.dumps(kept, indent=1) + "\n")


def _mean(numbers: list[dict[str, float]], metric: str) -> float | None:
    values = [row[metric] for row in numbers if row[metric] == row[metric]]
    return round(sum(values) / len(values), 4) if values else None


if __name__ == "__main__":
    sys.exit(main())
