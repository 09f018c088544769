"""Hold every method against photographs with boxes, and write docs/sweep.md.

    python tools/sweep.py run                       # all methods; minutes a model
    python tools/sweep.py run --minutes 8           # a piece; the next run goes on
    python tools/sweep.py run --only rise --photographs 5 --again
    python tools/sweep.py page                      # the page from docs/sweep.json
    python tools/sweep.py page --check

Every method explains the class that the model sees, by few runs; what cannot have it says why. The
maps are measured by localisation (pointing game, energy: do they lie in the box?) and faithfulness
(deletion, insertion: does the score follow them?), and beside them maps that know nothing of the
model. A method that does not beat these is broken, or not made for the model: it stands out.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]
RESULTS = ROOT / "docs" / "sweep.json"
_LITE0 = "tools/sweep/lite0.toml"
# What is explained: its file, how its pictures are prepared, and how many of them any method
# explains; those that have to beat the baselines explain all that the model sees.
MODELS: dict[str, tuple[str, str | None, int]] = {
    "mobilenetv2": ("models/mobilenetv2.onnx", None, 10),
    "squeezenet1.1": ("models/squeezenet1.1.onnx", None, 10),
    "efficientnet-lite0": ("models/efficientnet-lite0_torch_dynamo.onnx", _LITE0, 8),
    "mobilenetv2-int8": ("models/mobilenetv2_int8_qdq.onnx", "models/mobilenetv2.toml", 4),
    "squeezenet-fp16": (
        "models/squeezenet_fp16_winml_caffe2.onnx",
        "tools/sweep/squeezenet-caffe.toml",
        4,
    ),
    "digits-vit": ("digits-vit.onnx", None, 20),  # trained here, in minutes
}


def main() -> int:
    """Run the tool; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="explain and measure")
    add = run.add_argument
    add("--shared", type=Path, default=ROOT.parent / "shared", help="photographs")
    add("--only", action="append", help="a method")
    add("--model", action="append", help="a model, by its name in the table")
    add("--photographs", type=int, default=40, help="the most of a model")
    add("--minutes", type=float, default=1e6, help="behind which it stops")
    add("--again", action="store_true", help="measure anew what is there")
    add("--folder", type=Path, default=Path("/tmp/onnxcam-sweep"),
        help="where the transformer is kept, which is trained here")  # fmt: skip
    add("--results", type=Path, default=RESULTS, help="the JSON file")
    page = commands.add_parser("page", help="write the page from the JSON file")
    page.add_argument("--check", action="store_true", help="compare, do not write")
    options = parser.parse_args()
    if options.command == "page":
        from sweep.page import write

        return write(RESULTS, ROOT / "docs" / "sweep.md", check=options.check)
    return 0 if _run(options) else 3


def _run(options: argparse.Namespace) -> bool:
    """Explain and measure; tell whether all is done."""
    from sweep.measuring import Sweep
    from sweep.store import Store

    store, until = Store(options.results), time.monotonic() + 60 * options.minutes
    for name, (path, preprocess, count) in MODELS.items():
        if options.model and name not in options.model:
            continue
        how: dict[str, Any] = {"threads": 1, "device": "cpu", "preprocess": _described(preprocess)}
        sweep = Sweep(name, _place(name, path, options), how, options.shared, store, until)
        counts = min(count, options.photographs), options.photographs
        if not sweep.run(options.only, counts, again=options.again):
            return False
    return True


def _described(preprocess: str | None) -> str | None:
    return None if preprocess is None else str(ROOT / preprocess)


def _place(model: str, path: str, options: argparse.Namespace) -> Path:
    if model == "digits-vit":
        from sweep.digits_vit import made

        options.folder.mkdir(exist_ok=True)
        return made(options.folder / path)
    own: Path = ROOT / path
    return own if own.exists() else options.shared / path


if __name__ == "__main__":
    sys.exit(main())
