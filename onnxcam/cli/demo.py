"""`onnxcam demo`."""

from __future__ import annotations

from pathlib import Path

import click

from onnxcam.cli.group import main
from onnxcam.cli.options import options, say
from onnxcam.errors import OnnxcamError

_MODEL, _PICTURE = "squeezenet1.1.onnx", "chelsea.png"


@main.command("demo", short_help="Explain a small picture that comes with onnxcam.")
@options(
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        default=Path("onnxcam-demo.png"),
        show_default=True,
        metavar="FILE",
        help="The picture to write.",
    )
)
def demo_command(output: Path) -> None:
    """Explain a picture of a cat by three methods, with what is installed: nothing is fetched."""
    from onnxcam import Explainer
    from onnxcam.output.panel import save_panel

    folder = _folder()
    named = ["gradcam", "layercam", "guided-backprop"]
    found = Explainer(folder / _MODEL, named)(folder / _PICTURE)
    save_panel(found, output, title="SqueezeNet looks at Chelsea, the cat")
    first = next(iter(found.values()))
    say(f"{_PICTURE}: {first.title} -> {output}")
    say("Next: onnxcam explain MODEL.onnx PICTURE")


def _folder() -> Path:
    """Return where the demo lies: in the package, or in a checkout beside it."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "demo", package.parent / "models"):
        if (folder / _MODEL).is_file() and (folder / _PICTURE).is_file():
            return folder
    raise OnnxcamError(
        "this installation has no demo: its model and picture are missing",
        "install onnxcam from its wheel, or explain a model of your own",
    )
