"""Which description of the input is right: every preset on pictures whose content is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxcam.errors import OnnxcamError, UsageError, bounded
from onnxcam.inputs import prepare
from onnxcam.look.presets import Trier
from onnxcam.model.model import Libraries
from onnxcam.run.scores import probability
from onnxcam.targets import resolve_target


@dataclass(frozen=True)
class Rank:
    """How well a model sees what is in pictures that a preset prepares.

    Attributes:
        preset: Its name.
        right: Of how many pictures the highest score is that of what is there.
        pictures: How many there are.
        confidence: Mean probability of what is there; None where the scores are no logits.
        summary: What the preset does, in words.
        problem: Why it cannot be used, empty when it can.
    """

    preset: str
    right: int = 0
    pictures: int = 0
    confidence: float | None = None
    summary: str = ""
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


@dataclass(frozen=True)
class Ranking:
    """All presets, the best first.

    Attributes:
        ranks: What each makes of the pictures.
        ties: Presets that are right as often as the best, that among them; one name where it wins
            alone. That a model is surer says little: only what it names counts.
    """

    ranks: tuple[Rank, ...]
    ties: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Which wins and by how much, in words."""
        usable = [r for r in self.ranks if not r.problem]
        if not usable:
            return "no preset can be used"
        best, rest = usable[0], [r for r in usable if r.preset not in self.ties]
        if best.right == 0:
            return f"none: no preset names what is in any of {best.pictures} pictures"
        found = f"{best.right} of {best.pictures} right"
        behind = f"; next {rest[0].preset}, {rest[0].right} right" if rest else ""
        if len(self.ties) > 1:
            tied = [r for r in usable if r.preset in self.ties]
            named = [_alike(rank, tied) for rank in tied if _first(rank, tied)]
            if len(named) > 1:
                return f"a tie of {' and '.join(named)}: {found}{behind}; give more pictures"
            return f"{named[0]} wins: {found}{behind}"
        return f"{best.preset}{_sure(best)} wins: {found}{behind}"

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        ranks = [r.as_dict() for r in self.ranks]
        return {"ranks": ranks, "best": list(self.ties), "verdict": self.verdict}


def _first(rank: Rank, ranks: Sequence[Rank]) -> bool:
    """Tell whether none before it does what a preset does: a description may be one of them."""
    return next(r for r in ranks if r.summary == rank.summary) is rank


def _alike(rank: Rank, ranks: Sequence[Rank]) -> str:
    """Return the name of a preset, with those that do the same."""
    same = [r.preset for r in ranks if r.summary and r.summary == rank.summary and r is not rank]
    also = f" (the same as {' and '.join(same)})" if same else ""
    return f"{rank.preset}{also}{_sure(rank)}"


def _sure(rank: Rank) -> str:
    return "" if rank.confidence is None else f" ({100 * rank.confidence:.1f} % sure)"


@bounded("the model cannot be tried")
def rank_presets(
    model: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    truths: Sequence[str | int],
    *,
    labels: Path | None = None,
    op_library: Libraries = None,
) -> Ranking:
    """Run pictures through a model under every preset, and count what it names rightly.

    Args:
        model: Path of the model.
        images: Paths of pictures.
        truths: What is in each: the label or the index of a class.
        labels: File with the names of the classes.
        op_library: File of a library with the model's custom operators, or several.

    Raises:
        UsageError: The truths are not as many, or one is no class.
        InputError: A picture cannot be read.
    """
    if len(images) != len(truths) or not images:
        raise UsageError(
            f"{len(truths)} true labels for {len(images)} pictures", "give one for each picture"
        )
    trier = Trier(model, labels, op_library)
    ranks = [_rank(trier, preset, spec, images, truths) for preset, spec in trier.specs()]
    usable = [r for r in ranks if not r.problem]
    usable.sort(key=lambda r: (-r.right, -(r.confidence or 0)))
    ties = [r.preset for r in usable if r.right == usable[0].right]
    return Ranking((*usable, *(r for r in ranks if r.problem)), tuple(ties))


def _rank(
    trier: Trier,
    preset: str,
    spec: Any,
    images: Sequence[str | os.PathLike[str]],
    truths: Sequence[str | int],
) -> Rank:
    if isinstance(spec, OnnxcamError):
        return Rank(preset, problem=spec.message)
    names = trier.labels or spec.labels
    right, sure = 0, []
    for image, truth in zip(images, truths, strict=True):
        scores = trier.scores(prepare(image, spec, trier.declared).tensor)
        index = resolve_target(truth, len(scores), names)
        right += int(np.argmax(scores)) == index
        sure.append(probability(scores, index, trier.catalog.reduction))
    known = [p for p in sure if p is not None]
    mean = float(np.mean(known)) if len(known) == len(sure) else None
    return Rank(preset, right, len(images), mean, spec.summary)
