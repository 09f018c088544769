"""Make docs/gallery.md and its pictures: every method on one photograph, and other kinds of input.

python tools/make_gallery.py            # writes them, some minutes
python tools/make_gallery.py saliency   # only looks at these methods: a figure on /tmp

The pictures are made by the models in models/. Methods that run the model many times are given few
runs, or left out where a picture would take longer than a minute.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from onnxcam import Explainer, Explanation, methods
from onnxcam.errors import OnnxcamError
from onnxcam.output.panel import panel
from onnxcam.output.render import save_image

ROOT = Path(__file__).resolve().parents[1]
MODELS, DOCS = ROOT / "models", ROOT / "docs"
FEWER: dict[str, dict[str, Any]] = {
    "smoothgrad": {"samples": 15},
    "vargrad": {"samples": 15},
    "smooth-gradcam++": {"samples": 15},
    "integrated-gradients": {"steps": 20},
    "rise": {"masks": 500},
}
SHOWN = (*methods.names("graph"), *FEWER)
HEAD = """# Gallery

Made by `tools/make_gallery.py`. Methods on one photograph, by SqueezeNet, each drawn as its paper
does it and on a scale of its own; what a method claims and what it cannot show stands in
[the methods](methods.md).

![Forty methods on a photograph of a cat](gallery-methods.webp)

The same for one picture: `onnxcam explain model.onnx cat.png --method gradcam --method saliency -o
both.png`. Left out are methods that run the model many hundred times, and those that refuse this
model: {refused}.

## Signals

`onnxcam explain models/japanese_vowels.onnx models/samples/vowels_speaker3_1.npy`: twelve channels,
the map's colours behind them and as a curve below.

![A signal of twelve channels with its importance](gallery-signal.webp)

## Volumes

A ball in a noisy volume, by Layer-CAM of a small network whose filter is a blob: the slices through
the peak, and slices spread evenly.

![A volume, its slices and where the ball is](gallery-volume.webp)

## Tables

What makes a small network take a flower for *Iris virginica*, by Kernel SHAP: a bar for each
feature, the strongest first.

![A row of four measures and what each is worth](gallery-table.webp)

## Regressions

How far four digits are turned: no class, one number, and what it is read off.

![Four digits, how far they are turned, and where that is seen](gallery-digits.webp)

## One picture, four styles

`--style overlay`, `heat`, `contour` and `relief`; see [pictures, JSON and NPZ](results.md).

![One map in several styles](gallery-styles.webp)
"""


def explained(names: list[str]) -> tuple[dict[str, Explanation], list[str]]:
    """Return what the methods make of the photograph, and those that refuse."""
    found, refused = {}, []
    base = Explainer(MODELS / "squeezenet1.1.onnx", threads=1)
    for name in names:
        try:
            options = FEWER.get(name)
            explain = base.of(name) if options is None else base.by([name], options)
            made = explain(MODELS / "chelsea.png")
            found[name] = made[name] if isinstance(made, dict) else made
        except OnnxcamError as error:
            refused.append(name)
            sys.stderr.write(f"{name}: {error}\n")
    return found, refused


def main() -> None:
    """Write the page and its pictures."""
    names = sys.argv[1:] or sorted(SHOWN)
    found, refused = explained(names)
    drawn = panel(found, names=list(found), columns=6, size=200, title="Egyptian cat")
    if sys.argv[1:]:
        save_image(drawn, "/tmp/gallery.png")
        return
    save_image(drawn, DOCS / "gallery-methods.webp")
    signal = Explainer(MODELS / "japanese_vowels.onnx")(MODELS / "samples/vowels_speaker3_1.npy")
    save_image(signal.figure(), DOCS / "gallery-signal.webp")
    _kinds()
    one = found["gradcam"]
    styles: Any = ("overlay", "heat", "contour", "relief")
    figures = [panel([one], style=style, names=[style], size=280, columns=2) for style in styles]
    save_image(_beside(figures), DOCS / "gallery-styles.webp")
    text = HEAD.format(refused=", ".join(f"`{name}`" for name in refused) or "none")
    (DOCS / "gallery.md").write_text(text)


def _kinds() -> None:
    """Draw what is no photograph."""
    import gallery_kinds

    save_image(gallery_kinds.ball().figure(slices=8, size=130), DOCS / "gallery-volume.webp")
    save_image(
        gallery_kinds.flower().figure(size=620, names=gallery_kinds.FEATURES),
        DOCS / "gallery-table.webp",
    )
    digits = panel(gallery_kinds.digits(), columns=4, size=210, title="How far is a digit turned?")
    save_image(digits, DOCS / "gallery-digits.webp")


def _beside(figures: list[Any]) -> Any:
    from onnxcam.output.render import stack

    rows = [stack(figures[i : i + 2], margin=0, across=True) for i in range(0, len(figures), 2)]
    return stack(rows, margin=0)


if __name__ == "__main__":
    main()
