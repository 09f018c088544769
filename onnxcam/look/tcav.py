"""Concepts given by pictures: whether a class moves with them, and whether that is chance."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxcam.errors import OnnxcamError, UsageError, bounded
from onnxcam.explain import Explainer
from onnxcam.look.scan import Scan
from onnxcam.methods.cam.factors import learner
from onnxcam.targets import TOP, resolve_target

Array: TypeAlias = np.ndarray[Any, Any]
File: TypeAlias = "str | os.PathLike[str]"
_LEAST = 4  # pictures of a concept, so that some can be held out
_CHANCE = 0.65  # right answers below this are hardly more than guesses


@dataclass(frozen=True)
class Sensitivity:
    """How a class moves with a concept.

    Attributes:
        concept: Name of the concept.
        scores: TCAV score in each run: the share of the explained pictures whose score rises
            along the concept, 0 to 1.
        by_chance: The scores of directions between random pictures, in as many runs.
        p: Probability of such a difference between the two by chance (Welch's t-test, two-sided);
            NaN where all of them are the same.
        significant: Whether that is below the level, by the number of concepts, and the concept
            is told from random pictures better than by guesses.
        accuracy: Right answers of the concept's classifiers on pictures held out, 0 to 1.
        doubts: What looks wrong, in words.
    """

    concept: str
    scores: tuple[float, ...]
    by_chance: tuple[float, ...]
    p: float
    significant: bool
    accuracy: float
    doubts: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """The mean score."""
        return float(np.mean(self.scores))

    @property
    def spread(self) -> float:
        """Standard deviation of the scores."""
        return float(np.std(self.scores, ddof=1))


@dataclass(frozen=True)
class Tcav:
    """What was found of all concepts.

    Attributes:
        layer: Name of the layer.
        target: Index of the class; -1 for each picture's own top class.
        pictures: How many were explained.
        found: Of each concept how the class moves with it.
        failed: Pictures that could not be run, and why.
    """

    layer: str
    target: int
    pictures: int
    found: tuple[Sensitivity, ...]
    failed: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "layer": self.layer,
            "target": self.target,
            "pictures": self.pictures,
            "concepts": [
                {
                    "concept": each.concept, "score": each.score, "spread": each.spread,
                    "scores": list(each.scores), "by_chance": list(each.by_chance),
                    "p": None if np.isnan(each.p) else each.p, "significant": each.significant,
                    "accuracy": each.accuracy, "doubts": list(each.doubts),
                }
                for each in self.found
            ],
            "failed": [{"source": source, "why": why} for source, why in self.failed],
        }  # fmt: skip


@bounded("the concepts cannot be tested")
def tcav(
    model: Any,
    pictures: Iterable[File],
    concepts: Mapping[str, Iterable[File]],
    random: Iterable[File],
    *,
    target: int | str | None = None,
    layer: str | None = None,
    runs: int = 20,
    level: float = 0.05,
    pooled: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Tcav:
    """Test whether a class moves with concepts that are given by pictures.

    Kim et al., Interpretability Beyond Feature Attribution: Quantitative Testing with Concept
    Activation Vectors (TCAV), ICML 2018: a linear classifier tells a concept's pictures from
    random ones by a layer's activations; the concept is the direction v across its border. The
    score is the share of pictures x with dy/dA(x) . v > 0 (equations 1 and 2). It is compared with
    that of directions between random pictures, by a t-test over runs with other random pictures
    each (section 3.2). Deviations: the classifier is a logistic regression with its usual penalty
    on activations divided by their deviation, where the authors' code has a linear one by gradient
    descent; Welch's t-test, where theirs takes equal variances.

    Args:
        model: Path, bytes or proto of an ONNX model, or as :class:`onnxcam.Explainer` takes it.
        pictures: What is explained, usually of one class.
        concepts: Pictures of each concept, by its name.
        random: Pictures of nothing in particular: each run takes some of them.
        target: Index or label of the class; None for each picture's own top class.
        layer: The layer; None takes the default.
        runs: Classifiers of each concept, 2 or more.
        level: Of significance; with several concepts each is tested at this by their number.
        pooled: Take the mean of each channel over the positions, not all of the layer.
        seed: Of the draws.
        progress: Told how many pictures are done, of how many.
        options: As of :class:`onnxcam.Explainer` (preprocess, labels, device ...).

    Raises:
        OnnxcamError: There are too few pictures, or as of :class:`onnxcam.Explainer`.
    """
    if runs < 2 or not 0 < level < 1:
        raise UsageError(f"{runs} runs at a level of {level}", "take 2 or more, and 0 to 1")
    explain = Explainer(model, "hirescam", feature_layer=layer, **options)
    index = TOP if target is None else resolve_target(target, None, explain.labels)
    sets = [[Path(p) for p in each] for each in (pictures, random, *concepts.values())]
    read = _Reader(Scan(explain), sum(map(len, sets)), pooled, progress)
    slopes = [row[1] for row in read(sets[0], index)]
    rows = [[row[0] for row in read(each)] for each in sets[1:]]
    _check_sizes([*slopes, *(row for each in rows for row in each)])
    others, *own = [np.stack(each or [np.empty(0)]) for each in rows]
    _check(slopes, others, dict(zip(concepts, own, strict=True)), read.failed)
    rng, down = np.random.default_rng(seed), np.stack(slopes)
    found = [
        _tested(name, rows, others, down, runs, level / len(concepts), rng)
        for name, rows in zip(concepts, own, strict=True)
    ]
    return Tcav(read.scan.layer, index, len(slopes), tuple(found), tuple(read.failed))


class _Reader:
    """Runs pictures, and keeps what cannot be run.

    Args:
        scan: Runs one.
        total: How many there will be.
        pooled: Whether positions are put together.
        progress: Told how many are done.
    """

    def __init__(
        self, scan: Scan, total: int, pooled: bool, progress: Callable[[int, int], None] | None
    ) -> None:
        self.scan, self.failed = scan, list[tuple[str, str]]()
        self._total, self._pooled, self._progress, self._done = total, pooled, progress, 0

    def __call__(self, paths: Sequence[Path], target: int = TOP) -> list[tuple[Array, Array]]:
        """Return activations and gradients of the pictures, float [features] each."""
        found = []
        for path in paths:
            try:
                a, slope = self.scan(path, target)
                pair = (a.mean(1), slope.sum(1)) if self._pooled else (a.ravel(), slope.ravel())
                found.append(pair)
            except OnnxcamError as error:
                self.failed.append((str(path), str(error)))
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, self._total)
        return found


def _check_sizes(rows: Sequence[Array]) -> None:
    """Refuse layers of several sizes.

    Raises:
        UsageError: They are.
    """
    if len({row.shape for row in rows}) > 1:
        raise UsageError(
            "the pictures give layers of several sizes, which no direction fits",
            "take each channel's mean (pooled), or a `preprocess` that brings them to one size",
        )


def _check(
    slopes: Sequence[Array], others: Array, own: Mapping[str, Array],
    failed: Sequence[tuple[str, str]],
) -> None:  # fmt: skip
    """Refuse what says nothing.

    Raises:
        UsageError: There are too few pictures of a kind.
    """
    why = f" ({failed[0][0]}: {failed[0][1]})" if failed else ""
    if not slopes:
        raise UsageError(f"no picture can be explained{why}", "give others")
    if not own:
        raise UsageError("no concept is given", "give a folder of pictures that show one")
    for name, rows in {**own, "random pictures": others}.items():
        most = _LEAST if name in own else 2 * _LEAST
        if len(rows) < most or not rows.size:
            what = f"of {name!r}" if name in own else "of nothing in particular"
            raise UsageError(
                f"{len(rows)} pictures {what} can be run{why}", f"give {most} or more, better 50"
            )


def _tested(
    name: str, rows: Array, others: Array, slopes: Array, runs: int, level: float,
    rng: np.random.Generator,
) -> Sensitivity:  # fmt: skip
    """Return how the class moves with one concept."""
    from scipy import stats

    count = min(len(rows), len(others) // 2)
    scores, chance, right = [], [], []
    for _ in range(runs):
        drawn = rng.permutation(len(others))
        direction, accuracy = _direction(rows, others[drawn[:count]], rng)
        scores.append(float((slopes @ direction > 0).mean()))
        right.append(accuracy)
        direction, _ = _direction(others[drawn[:count]], others[drawn[count : 2 * count]], rng)
        chance.append(float((slopes @ direction > 0).mean()))
    if np.ptp(scores) == np.ptp(chance) == 0:
        p = np.nan if scores[0] == chance[0] else 0.0
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scores that are all 0 or 1 have no variance
            p = float(stats.ttest_ind(scores, chance, equal_var=False).pvalue)
    mean, doubts = float(np.mean(right)), []
    if mean < _CHANCE:
        doubts.append(f"the layer hardly tells it from random pictures: {mean:.0%} right")
    if not slopes.any():
        doubts.append("the gradient is zero: saturated, or a dead layer")
    return Sensitivity(
        name, tuple(scores), tuple(chance), p, bool(p < level and mean >= _CHANCE), mean,
        tuple(doubts),
    )  # fmt: skip


def _direction(rows: Array, others: Array, rng: np.random.Generator) -> tuple[Array, float]:
    """Return the direction from others to rows, and how many of a held-out quarter are right.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    linear = learner("linear_model", "a concept of pictures")
    x = np.concatenate([rows, others])
    y = np.repeat([1, 0], [len(rows), len(others)])
    scale = x.std() or 1.0
    x = (x - x.mean(0)) / scale
    held = np.zeros(len(y), bool)
    for kind in (0, 1):
        own = np.flatnonzero(y == kind)
        held[rng.permutation(own)[: max(1, len(own) // 4)]] = True
    fitted = linear.LogisticRegression(max_iter=1000).fit(x[~held], y[~held])
    return fitted.coef_[0], float(fitted.score(x[held], y[held]))
