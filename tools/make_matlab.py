"""Write docs/matlab.md: MATLAB's worked examples of gradCAM, run here, with their pictures.

python tools/make_matlab.py            # writes the page and the pictures
python tools/make_matlab.py --check    # exit 1 when the page says something else
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onnxcam.output.render import figure, figure_1d

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# For who comes from MATLAB

Written by `tools/make_matlab.py`, which runs the code below; a test holds it.

`onnxcam.grad_cam` is the Deep Learning Toolbox's `gradCAM` (R2026b) for ONNX files, with its
arguments and results: the map is what comes out of the ReLU, not scaled, in the axes of `X`, and
its scores are those of the last layer (behind the softmax), where `onnxcam.Explainer` takes the
logits as the paper does. The names of the layers that were taken come back with it.

| MATLAB | onnxcam |
|---|---|
| `gradCAM(net,X,classIdx)` | `grad_cam(net, X, class_idx)`, counted from 0 |
| `gradCAM(net,X,["cat" "dog"])` | `grad_cam(net, X, ["cat", "dog"])`: a last axis for each |
| `gradCAM(net,X,@(y)y(208))` | `grad_cam(net, X, lambda y: y[:, 207])`: `y` has its batch first |
| `FeatureLayer=`, `ReductionLayer=` | `feature_layer=`, `reduction_layer=`: tensors or nodes |
| `InputDataFormats="SSC"` | `input_data_formats="SSC"` |
| `OutputUpsampling="bicubic"` | `output_upsampling="bicubic"`, `"nearest"`, `"none"` |
| `ExecutionEnvironment="auto"` | `execution_environment="auto"`, `"gpu"`, `"cpu"` |
| `occlusionSensitivity`, `imageLIME`, `drise` | `occlusion_sensitivity`, `image_lime`, `d_rise` |

`X` is one observation: `[h, w, c]` (or `[h, w]`), `[h, w, d, c]`, `[c, t]`, in another order with
`input_data_formats`. Reals are taken as the network takes them. uint8 pixels are scaled as what
describes the model says (a `.toml` beside it, see the README), as MATLAB's input layer does, and
are not resized. Axes of space stay in their order.
"""


@dataclass(frozen=True)
class Example:
    """A worked example.

    Attributes:
        name: Of its picture.
        title: Its heading.
        text: What it shows.
        code: What is run; it sets ``score_map``, ``X`` and ``said``.
        drawn: How the picture is drawn: "picture" or "signal".
    """

    name: str
    title: str
    text: str
    code: str
    drawn: str


EXAMPLES = (
    Example(
        "digit",
        "A regression: how far is the digit turned?",
        "A network that says an angle has no classes: the reduction function takes its one\n"
        "output. Bright is what the angle is read off.",
        """import numpy as np
import onnxcam
from PIL import Image

net = "models/digit_rotation.onnx"
X = np.asarray(Image.open("models/samples/digit_4.png"))  # uint8 [28, 28]
score_map, feature_layer, reduction_layer = onnxcam.grad_cam(net, X, lambda y: y[:, 0])
""",
        "picture",
    ),
    Example(
        "vowels",
        "A sequence: which part of the vowel gives the speaker away?",
        "Twelve cepstrum coefficients by time, `[c, t]`; the map is `[1, t]`, here with a last\n"
        "axis for two speakers.",
        """import numpy as np
import onnxcam

net = "models/japanese_vowels.onnx"
X = np.load("models/samples/vowels_speaker3_1.npy")  # float32 [12, 19]
score_map, feature_layer, reduction_layer = onnxcam.grad_cam(net, X, ["speaker 3", "speaker 8"])
""",
        "signal",
    ),
    Example(
        "photograph",
        "A photograph, at a named softmax",
        "The reduction layer is named: the probabilities behind the softmax. It is what\n"
        "`reduction_layer=` would be by itself, too.",
        """import numpy as np
import onnxcam
from PIL import Image

net = "models/squeezenet1.1.onnx"
X = np.asarray(Image.open("models/chelsea.png").convert("RGB").resize((224, 224)))
score_map, feature_layer, reduction_layer = onnxcam.grad_cam(
    net, X, "Egyptian cat", feature_layer="fire9/concat", reduction_layer="prob"
)
""",
        "picture",
    ),
)


def ran(example: Example) -> dict[str, Any]:
    """Return the names that an example sets."""
    names: dict[str, Any] = {}
    exec(compile(example.code, example.name, "exec"), names)
    return names


def said(found: dict[str, Any]) -> str:
    """Return what came out, in words."""
    map = found["score_map"]
    shape = ", ".join(str(size) for size in map.shape)
    return (
        f"`score_map` is {map.dtype.name} [{shape}]; `feature_layer` is\n"
        f"`{found['feature_layer']}`, `reduction_layer` is `{found['reduction_layer']}`."
    )


def drawn(example: Example, found: dict[str, Any]) -> Image.Image:
    """Return the picture of an example."""
    x, map = found["X"], found["score_map"]
    if example.drawn == "signal":
        return figure_1d(x, map[0, :, 0], title="Grad-CAM of speaker 3", subtitle=example.title)
    picture = np.repeat(x[..., None], 3, -1) if x.ndim == 2 else x
    return figure(picture, map, title="Grad-CAM", subtitle=example.title, size=320)


def page(results: Sequence[dict[str, Any]]) -> str:
    """Return the page."""
    parts = [HEAD]
    for example, found in zip(EXAMPLES, results, strict=True):
        parts.append(
            f"## {example.title}\n\n{example.text}\n\n```python\n{example.code}```\n\n"
            f"{said(found)}\n\n![{example.title}](matlab-{example.name}.png)\n"
        )
    return "\n".join(parts)


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()
    os.chdir(ROOT)
    results = [ran(example) for example in EXAMPLES]
    text, place = page(results), ROOT / "docs" / "matlab.md"
    if args.check:
        if place.read_text() != text:
            sys.stderr.write("docs/matlab.md is not up to date: run tools/make_matlab.py\n")
            return 1
        return 0
    place.write_text(text)
    for example, found in zip(EXAMPLES, results, strict=True):
        drawn(example, found).save(ROOT / "docs" / f"matlab-{example.name}.png", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
