"""Examine exports of real library code: timm, torchvision, transformers, keras and others.

    python tools/envs.py library-survey        # makes the environment and prints its Python
    PYTHON tools/library_survey.py run         # exports, examines, writes docs/library-survey.*
    PYTHON tools/library_survey.py run --only timm.resnet18 --only keras
    PYTHON tools/library_survey.py list
    python tools/library_survey.py page --check

The networks have random weights that are calibrated: batches are run in training mode, so that
what a batch normalisation has learnt is sane, and nothing is constant. Each is exported by
TorchScript (the batch open) and by dynamo (a batch of 1), and explained at the default layer:

    layer       is the library's own last stage (timm's feature_info), or behind it, and its
                gradient is not in a class token alone
    gradient    of feature layer and input, against autograd in float64
    map         against hooks on the torch network, the axes laid as the library has them
    conversion  onnxcam's own check, and both files run
    cost        explained / plain, paired, on one thread

A file is right, refused with a reason, warned (what is wrong is said) or WRONG. The exports stay in
a folder; a second run examines them again, and with --again it also exports them again.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from tables import command, page  # noqa: E402
from tables.store import Rows  # noqa: E402

KEY = ("library", "name", "exporter")
PACKAGES = (
    "torch torchvision timm transformers ultralytics segmentation-models-pytorch monai keras "
    "onnx onnxscript onnxruntime"
).split()


def main() -> int:
    """Run the tool; returns the exit code."""
    parser, commands, run = command.parser(__doc__, "library-survey")
    run.add_argument("--only", action="append", help="a library, or library.network")
    run.add_argument("--exporter", action="append", choices=["script", "dynamo"])
    run.add_argument("--again", action="store_true", help="export again what is there")
    run.add_argument("--memory", type=int, default=7, help="gigabytes that it may take")
    run.add_argument("--no-cost", action="store_true", help="do not measure the time")
    costs = commands.add_parser("costs", help="measure what explanations cost, of what is right")
    command.places(costs, "library-survey")
    commands.add_parser("list", help="list the networks")
    options = parser.parse_args()
    if options.command == "page":
        from survey import page as pages

        tool = "tools/library_survey.py"
        return page.write("library-survey", pages.text_of, tool, check=options.check)
    os.environ.setdefault("KERAS_BACKEND", "torch")
    ways = {"list": _list, "costs": _costs, "run": _run}
    return ways[options.command](options)


def _list(_: argparse.Namespace) -> int:
    from survey.subjects import every

    for subject in every():
        print(subject.key)
    return 0


def _costs(options: argparse.Namespace) -> int:
    from survey.costs import of_file
    from survey.subjects import every

    from onnxcam.errors import OnnxcamError

    results, subjects = (
        Rows(options.results, KEY, PACKAGES),
        {(s.library, s.name): s for s in every()},
    )
    for (library, name, exporter), row in results.rows.items():
        path = options.folder / f"{library}.{name}.{exporter}.onnx"
        if row["verdict"] != "right" or row["milliseconds"] is not None or not path.exists():
            continue
        try:
            milliseconds, row["cost"] = of_file(path, subjects[library, name])
        except OnnxcamError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            continue
        row["milliseconds"] = round(milliseconds, 2)
        print(f"{path.name}: {row['cost']} of {milliseconds:.1f} ms", flush=True)
        results.write()
    return 0


def _run(options: argparse.Namespace) -> int:
    from survey.expert import torch_one_thread
    from survey.networks import limit_memory
    from survey.subjects import every
    from survey.work import files_of

    torch_one_thread()
    limit_memory(options.memory)
    only = options.only or []
    subjects = [s for s in every() if not only or s.key in only or s.library in only]
    results = Rows(options.results, KEY, PACKAGES)
    exporters = options.exporter or ["script", "dynamo"]
    for subject in subjects:
        wanted = [
            e
            for e in exporters
            if not (options.missing and results.has(subject.library, subject.name, e))
        ]
        if not wanted:
            continue
        begin = time.perf_counter()
        for row in files_of(
            subject, wanted, options.folder, again=options.again, cost=not options.no_cost
        ):
            results.add(row.as_dict())
            said = f"{row.verdict} {row.kind} {row.note}".strip()
            seconds = time.perf_counter() - begin
            print(f"{seconds:5.0f} s  {subject.key} {row.exporter}: {said}", flush=True)
        gc.collect()
    print(json.dumps(results.summary()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
