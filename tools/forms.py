"""Put MobileNetV2 and a ViT by every exporter into every form; hold each against the float file.

    python tools/envs.py library-survey tensorflow paddle mxnet     # what exporters need
    PYTHON tools/forms.py run                                       # writes docs/forms.*
    PYTHON tools/forms.py run --exporter "torch script" --form "QDQ static" --network ViT
    python tools/forms.py page --check

Right is: the default layer has the values of the float file's, the map is the same (relative L2 of
1e-6 in float, 2e-3 in half, or four times what the form itself moves the file's output, where that
is more; Spearman's correlation of 0.95 in int8), onnxcam's own check of the conversion passes, and
the explained file, run beside the plain one, predicts the same. Where no registry has an exporter,
a file by it from ../shared/models stands in, or the table says that it is absent.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from tables import command, page  # noqa: E402
from tables.store import Rows  # noqa: E402

KEY = ("exporter", "network", "form")
PACKAGES = (
    "torch torchvision timm keras onnx onnxruntime onnxscript onnxconverter-common onnxmltools "
    "onnxsim onnxslim"
).split()


def main() -> int:
    """Run the tool; returns the exit code."""
    parser, _, run = command.parser(__doc__, "forms")
    run.add_argument("--exporter", action="append", help="only this one")
    run.add_argument("--form", action="append", help="only this one")
    run.add_argument("--network", action="append", help="MobileNetV2 or ViT")
    options = parser.parse_args()
    if options.command == "page":
        from forms import page as pages

        return page.write("forms", pages.text_of, "tools/forms.py", check=options.check)
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    import torch
    from forms.catalogue import FORMS
    from forms.check import cell, reference
    from forms.sources import EXPORTERS, NotMadeError, networks, source

    from onnxcam.errors import OnnxcamError

    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    results = Rows(options.results, KEY, PACKAGES)
    for network in options.network or networks():
        for exporter in options.exporter or EXPORTERS:
            truth, reason = None, ""
            try:
                made = source(exporter, network, options.folder)
                truth = reference(made)
            except NotMadeError as error:
                reason = str(error)
            except OnnxcamError as error:
                print(f"{exporter} {network}: refused: {error}", flush=True)
            results.lacks(f"{exporter}, {network}", reason)
            if reason:
                print(f"{exporter} {network}: {reason}", flush=True)
                continue
            for form in FORMS:
                wanted = not options.form or form.name in options.form
                if not wanted or (options.missing and results.has(exporter, network, form.name)):
                    continue
                begin = time.perf_counter()
                with tempfile.TemporaryDirectory() as folder:
                    found = cell(made, form, truth, Path(folder))
                found.network = network
                results.add(found.as_dict())
                seconds = time.perf_counter() - begin
                print(
                    f"{seconds:4.0f} s  {exporter} {network} {form.name}: {found.verdict} "
                    f"{found.note} ({found.map:.2g}, {found.own:.2g})", flush=True,
                )  # fmt: skip
    print(json.dumps(results.summary()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
