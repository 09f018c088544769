"""Options for what is explained: classes, quantities of them, boxes, places, references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from onnxcam.cli.options import F
from onnxcam.errors import UsageError

if TYPE_CHECKING:
    from onnxcam.targets import Target

QUANTITY = click.option(
    "--quantity",
    type=click.Choice(
        [
            "score",
            "probability",
            "log-probability",
            "margin",
            "finer",
            "yes",
            "no",
            "sum",
            "region",
            "detection",
        ]
    ),
    default="score",
    show_default=True,
    help="What of the class is explained; sum is that of all scores, of no class; finer is "
    "above the most similar classes; yes and no what speaks for and against a sigmoid's class; "
    "region the pixels where the class is highest; detection the best one of the class.",
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
BOX = click.option(
    "--box",
    "boxes",
    type=click.IntRange(0),
    multiple=True,
    metavar="N",
    help="Explain this box of a detector, by its row in the output; repeatable.",
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
    boxes: Sequence[int] = (),
    places: Sequence[int] = (),
    similar_to: Path | None = None,
) -> list[Target]:
    """Return the targets that the options ask for.

    Raises:
        UsageError: The options contradict each other.
    """
    from onnxcam import targets as kinds

    ways = {"--box": boxes, "--at": places, "--similar-to": similar_to}
    given = [name for name, value in ways.items() if value]
    alone = len(given) == 1 and (given == ["--at"] or not targets)
    if given and not (alone and quantity == "score"):
        rest = "--quantity out" if given == ["--at"] else "--target, --quantity and others out"
        raise UsageError(f"{given[0]} names what is explained", f"leave {rest}")
    if boxes:
        return [kinds.Box(number) for number in boxes]
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
    made: dict[str, Callable[[str | None], Target]] = {
        "score": kinds.Score, "probability": kinds.Probability, "region": kinds.Region,
        "detection": kinds.Detection, "log-probability": kinds.LogProbability,
        "finer": kinds.Finer, "yes": partial(kinds.Binary, positive=True),
        "no": partial(kinds.Binary, positive=False),
    }  # fmt: skip
    return [made[quantity](each) for each in classes]
