"""What is explained, from the shell: the options that say so, and the targets that they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnxcam.cli.options import F
from onnxcam.errors import UsageError

if TYPE_CHECKING:
    from onnxcam.targets import Target

QUANTITY = click.option(
    "--quantity",
    type=click.Choice(
        "score probability log-probability margin finer yes no sum region detection detections "
        "keypoint".split(),
        case_sensitive=False,
    ),
    default="score",
    show_default=True,
    help="What of the class is explained; sum is that of all scores, of no class; finer is "
    "above the most similar classes; yes and no what speaks for and against a sigmoid's class; "
    "region the pixels where the class is highest; detection the best one of the class; detections "
    "every box of a detector that is sure; keypoint the point of this number.",
)
AT = click.option(
    "--at",
    "places",
    multiple=True,
    type=int,
    metavar="N",
    help="Explain the class at this step, token or position of the scores, from the end where it "
    "is negative; once for each of their axes.",
)
SIMILAR = click.option(
    "--similar-to",
    "similar_to",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Explain how alike INPUT is to another one (a picture, .npy or .npz), by the cosine of "
    "their scores: for models of embeddings.",
)
AGAINST = click.option(
    "--against",
    metavar="IDX|LABEL",
    help="With --quantity margin: the other class [default: the runner-up].",
)
DETECTOR = click.option(
    "--detector",
    "detector",
    multiple=True,
    metavar="KEY=VALUE",
    help="What a detector's outputs are where the model does not tell: boxes, scores, axis, format "
    "(xyxy, cxcywh, ltrb, deltas ...), unit (pixels, normalised, cells), anchors (a file), "
    "variances ...; repeatable; docs/detection.md. Also [detector] in MODEL.toml.",
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


def target(what: str) -> Callable[[F], F]:
    """Return the option for classes, which says what becomes of them."""
    return click.option(
        "--target",
        "targets",
        multiple=True,
        metavar="IDX|LABEL",
        help=f"{what} [default: the top class]; repeatable.",
    )


def wanted(
    targets: Sequence[str],
    quantity: str,
    against: str | None,
    boxes: Sequence[str] = (),
    places: Sequence[int] = (),
    similar_to: Path | None = None,
    over: float | None = None,
) -> list[Target]:
    """Return the targets that the options ask for.

    Raises:
        UsageError: The options contradict each other.
    """
    from onnxcam import targets as kinds

    if over is not None and quantity != "detections":
        raise UsageError("--over is for boxes", "add --quantity detections, or leave it out")
    ways = {"--box": boxes, "--at": places, "--similar-to": similar_to}
    given = [name for name, value in ways.items() if value]
    alone = len(given) == 1 and (given == ["--at"] or not targets)
    if given and not (alone and quantity == "score"):
        rest = "--quantity out" if given == ["--at"] else "--target, --quantity and others out"
        raise UsageError(f"{given[0]} names what is explained", f"leave {rest}")
    if boxes:
        return [_box(text) for text in boxes]
    if similar_to is not None:
        return [kinds.Similarity(input=similar_to)]
    if against is not None and quantity != "margin":
        raise UsageError("--against is for margins", "add --quantity margin, or leave it out")
    classes: list[str | None] = [*targets] or [None]
    if places:
        return [kinds.At(places, each) for each in classes]
    if quantity == "margin":
        return [kinds.Margin(each, against) for each in classes]
    if quantity == "sum":
        if targets:
            raise UsageError("the sum of all scores is of no class", "leave --target out")
        return [kinds.Sum()]
    return [_of_class(quantity, each, over) for each in classes]


def _of_class(quantity: str, name: str | None, over: float | None) -> Target:
    """Return the target of a quantity of one class."""
    from onnxcam import targets as kinds

    made: dict[str, Callable[[str | None], Target]] = {
        "score": kinds.Score, "probability": kinds.Probability, "region": kinds.Region,
        "detection": kinds.Detection, "log-probability": kinds.LogProbability,
        "finer": kinds.Finer, "yes": partial(kinds.Binary, positive=True),
        "no": partial(kinds.Binary, positive=False),
        "detections": lambda each: (
            kinds.Detections(each) if over is None else kinds.Detections(each, over=over)
        ),
        "keypoint": lambda each: kinds.Keypoint(_point(each)),
    }  # fmt: skip
    return made[quantity](name)


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
        found[key] = _said(pair, value)
    return found or None


def _said(pair: str, value: str) -> Any:
    """Return a value of a table: a number, a word, a list of words, or what JSON says."""
    if value.startswith("["):
        import json

        try:
            return json.loads(value)
        except ValueError as error:
            raise UsageError(f"--detector {pair}: {error}", "write lists as JSON") from None
    parts = value.split(",")
    if parts[1:]:
        return parts
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
