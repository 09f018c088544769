"""Hold boxes of detectors of torchvision, transformers and ultralytics against hooks on them.

    python tools/envs.py library-survey           # makes the environment and prints its Python
    PYTHON tools/library_detectors.py run         # exports, examines, writes the page
    PYTHON tools/library_detectors.py run --only torchvision --only transformers.RTDetr
    PYTHON tools/library_detectors.py list
    python tools/library_detectors.py page --check

The networks have random calibrated weights. Of each file the surest box is explained, by the
default way and by Grad-CAM, and score, box and both maps are compared with the network in torch, in
float64 where its code knows that. The exports stay in a folder; a second run examines them again.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from tables import command, page  # noqa: E402
from tables.store import Rows  # noqa: E402

NAME = "library-detectors"
KEY = ("library", "name", "exporter")
PACKAGES = "torch torchvision transformers ultralytics onnx onnxscript onnxruntime".split()
EXPORTERS = ("script", "dynamo")


def main() -> int:
    """Run the tool; returns the exit code."""
    parser, commands, run = command.parser(__doc__, NAME)
    run.add_argument("--only", action="append", help="a library, or library.network")
    run.add_argument("--exporter", action="append", choices=EXPORTERS)
    run.add_argument("--again", action="store_true", help="export again what is there")
    run.add_argument("--seconds", type=int, default=400, help="that an export may take")
    commands.add_parser("list", help="list the networks")
    options = parser.parse_args()
    if options.command == "page":
        from survey import detector_page

        tool = "tools/library_detectors.py"
        return page.write(NAME, detector_page.text_of, tool, check=options.check)
    if options.command == "list":
        from survey.detectors import every

        print("\n".join(each.key for each in every()))
        return 0
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    from survey.detectors import every, examined
    from survey.expert import torch_one_thread

    torch_one_thread()
    options.folder.mkdir(parents=True, exist_ok=True)
    results = Rows(options.results, KEY, PACKAGES)
    only = options.only
    for each in every():
        if only and each.key not in only and each.library not in only:
            continue
        for exporter in options.exporter or EXPORTERS:
            if options.missing and results.has(each.library, each.name, exporter):
                continue
            begin, path = time.perf_counter(), options.folder / f"{each.key}.{exporter}.onnx"
            if options.again:
                path.unlink(missing_ok=True)
            row = examined(each, exporter, path, options.seconds)
            results.add(row.as_dict())
            seconds = time.perf_counter() - begin
            print(f"{seconds:5.0f} s  {json.dumps(row.as_dict())}", flush=True)
            gc.collect()
    print(json.dumps(results.summary()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
