"""What is explained, from the shell: the options that say so, and the targets that they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from onnxcam.errors import UsageError

if TYPE_CHECKING:
    from onnxcam.targets import Target

QUANTITY = click.option(
    "--quantity",
    type=click.Choice(
        ["score", "probability", "margin", "sum", "region", "detection", "detections", "keypoint"]
    ),
    default="score",
    show_default=True,
    help="What of the class is explained; sum is that of all scores, of no class; region the "
    "pixels where the class is highest; detection the best one of the class; detections every "
    "box of a detector that is sure; keypoint the point of this number.",
)
DETECTOR = click.option(
    "--detector",
    "detector",
    multiple=True,
    metavar="KEY=VALUE",
    help="What a detector's outputs are where the model does not tell: boxes, scores, axis, format "
    "(xyxy, yxyx, cxcywh, ltrb), unit (pixels, normalised, cells) ...; repeatable. Also [detector] "
    "in MODEL.toml.",
)
OVER = click.option(
    "--over",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="With --quantity detections: how sure a box must be [default: 0.5].",
)
BOX = click.option(
    "--box",
    "boxes",
    multiple=True,
    metavar="N|X,Y,X,Y",
    help="Explain this box of a detector: by its row in the output, or the one that is at left, "
    "top, right, bottom in pixels of the picture; repeatable.",
)
AGAINST = click.option(
    "--against",
    metavar="IDX|LABEL",
    help="With --quantity margin: the other class [default: the runner-up].",
)


def wanted(
    targets: Sequence[str],
    quantity: str,
    against: str | None,
    boxes: Sequence[str] = (),
    over: float | None = None,
) -> list[Target]:
    """Return the targets that the options ask for.

    Raises:
        UsageError: The options contradict each other.
    """
    from onnxcam import targets as kinds_of

    if over is not None and quantity != "detections":
        raise UsageError("--over is for boxes", "add --quantity detections, or leave it out")
    if boxes:
        if targets or quantity != "score":
            raise UsageError("--box names what is explained", "leave --target and --quantity out")
        return [_box(text) for text in boxes]
    if against is not None and quantity != "margin":
        raise UsageError("--against is for margins", "add --quantity margin, or leave it out")
    classes: list[str | None] = [*targets] or [None]
    if quantity == "margin":
        return [kinds_of.Margin(each, against) for each in classes]
    if quantity == "sum":
        if targets:
            raise UsageError("the sum of all scores is of no class", "leave --target out")
        return [kinds_of.Sum()]
    if quantity == "detections":
        least = {} if over is None else {"over": over}
        return [kinds_of.Detections(each, **least) for each in classes]
    if quantity == "keypoint":
        return [kinds_of.Keypoint(_point(each)) for each in classes]
    made: Callable[[str | None], Target] = getattr(kinds_of, quantity.capitalize())
    return [made(each) for each in classes]


def _box(text: str) -> Target:
    """Return the target of a box by its row, or by four numbers."""
    from onnxcam.targets import Box

    parts = text.split(",")
    try:
        if len(parts) == 1:
            return Box(int(text))
        return Box(box=[float(part) for part in parts])
    except ValueError:
        raise UsageError(
            f"--box {text}: no row, and no place", "write --box 7, or --box left,top,right,bottom"
        ) from None


def _point(text: str | None) -> int:
    if text is None or not text.strip().isdigit():
        raise UsageError("--quantity keypoint is of a point", "name it by its number: --target 0")
    return int(text)


def declared(pairs: Sequence[str]) -> dict[str, Any] | None:
    """Return what `--detector KEY=VALUE` says; None where it is not given.

    Raises:
        UsageError: One is not of that form.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise UsageError(
                f"--detector {pair}: no KEY=VALUE", "write it as --detector unit=cells"
            )
        parts = value.split(",")
        found[key] = int(value) if value.lstrip("-").isdigit() else parts if parts[1:] else value
    return found or None
