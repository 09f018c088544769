"""Write the demo of the web page: explained models, sample pictures, and the list of both.

    python tools/web/make_demo.py models/squeezenet1.1.onnx models/mobilenetv2.onnx
    python tools/web/serve.py

A model needs what `onnxcam explain` needs: a description of its input beside it (model.toml), in
its metadata, or named by --preprocess. The explained model carries that description, class names
included, in its own metadata; the page reads it there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from onnx import ModelProto

from onnxcam import Explainer, convert
from onnxcam.cli.words import in_shell
from onnxcam.errors import OnnxcamError
from onnxcam.output.render.colour import colormap

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "models"
COLOURS = ("ember", "marine", "gray", "bluered")  # the last one for signed maps
PICTURES = [MODELS / name for name in ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png")]


def explained(path: Path, methods: list[str], preprocess: str | None) -> ModelProto:
    """Return the explained model as browsers need it.

    Its metadata says how a picture becomes its input. Its target input has no default, because
    ONNX Runtime Web refuses to be fed an input that has one. Its maps are small: the page enlarges
    them.

    Raises:
        OnnxcamError: The model cannot be explained, or nothing describes its input.
    """
    spec = Explainer(path, methods[0], preprocess=preprocess, device="cpu", threads=1).spec
    asked = methods if len(methods) > 1 else methods[0]
    return convert(
        path, method=asked, preprocess=spec, upsampling="none", require_target=True, check=False
    ).proto


def make_demo(
    models: list[Path],
    out: Path,
    *,
    methods: list[str],
    preprocess: str | None,
    pictures: list[Path],
) -> None:
    """Write the demo folder.

    Args:
        models: ONNX files.
        out: The folder; files of the same names are replaced.
        methods: Names of the methods, each a map of every file.
        preprocess: A preset or TOML file; None takes what lies beside or in the models.
        pictures: Samples to choose from.

    Raises:
        OnnxcamError: A model cannot be explained, or nothing describes its input.
        OSError: A file cannot be read or written.
    """
    out.mkdir(parents=True, exist_ok=True)
    for path in models:
        (out / path.name).write_bytes(explained(path, methods, preprocess).SerializeToString())
    for path in pictures:
        shutil.copyfile(path, out / path.name)
    index = {
        "models": [path.name for path in models],
        "pictures": [path.name for path in pictures],
        "colormaps": {name: colormap(name).tobytes().hex() for name in COLOURS},
    }
    (out / "demo.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def main() -> int:
    """Write the demo folder, or say what keeps it from being written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="ONNX files")
    parser.add_argument(
        "--method", dest="methods", action="append", help="name of a method, repeatable [gradcam]"
    )
    parser.add_argument("--preprocess", metavar="P", help="preset or TOML file")
    parser.add_argument("--pictures", nargs="+", type=Path, default=PICTURES, help="samples")
    parser.add_argument("--out", type=Path, default=HERE / "demo", help="folder [tools/web/demo]")
    arguments = vars(parser.parse_args())
    arguments["methods"] = arguments["methods"] or ["gradcam"]
    try:
        make_demo(**arguments)
    except (OnnxcamError, OSError) as error:
        said = in_shell(str(error), {"--preprocess", "--method"})
        print(f"make_demo: {said}", file=sys.stderr)
        return 1
    print(f"{arguments['out']}: written. Now: python {HERE / 'serve.py'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
