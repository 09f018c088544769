"""Concepts that a layer is made of in many pictures, and how much a class needs each: CRAFT."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxcam.errors import OnnxcamError, UsageError, bounded
from onnxcam.explain import Explainer
from onnxcam.look.concepts import Concept, Concepts, same
from onnxcam.look.scan import Scan
from onnxcam.methods.cam.factors import amounts, factors
from onnxcam.methods.perturb.masks import resized
from onnxcam.run.order import Order, rounded
from onnxcam.targets import Wanted

Array: TypeAlias = np.ndarray[Any, Any]
_Why: TypeAlias = tuple[str, str]
_APART = 0.8  # of a crop's side, how far the next one begins
_ROUGH = 8  # designs for a map whose concept is given: they only scale it


@bounded("the concepts cannot be found")
def craft(
    model: Any,
    pictures: Iterable[str | os.PathLike[str]],
    *,
    target: Wanted = None,
    layer: str | None = None,
    concepts: int = 10,
    crop: float = 0.3,
    designs: int = 32,
    most: int = 5,
    each: int = 6,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Concepts:
    """Find concepts that a layer is made of in pictures of a class, and how much it needs them.

    Fel et al., CRAFT: Concept Recursive Activation FacTorization for Explainability, CVPR 2023: the
    layer's features, averaged over each of many crops of the pictures, are factorised into concepts
    (NMF, equation 1); a concept counts by its total Sobol index (equation 4), here of each picture
    by the method ``craft``, and the mean of them. Crops are of the prepared input, enlarged to its
    size, each beginning 4/5 of a side behind the last, as in xplique. Deviation: concepts are not
    split again into those of a layer before (the recursion); call this with that layer.

    Args:
        model: Path, bytes or proto of an ONNX model, or as :class:`onnxcam.Explainer` takes it.
        pictures: The set, best of one class.
        target: The class; None for each picture's own top class.
        layer: The layer; None takes the default.
        concepts: How many the layer is made of.
        crop: Side of a crop, a part of the input's.
        designs: Masks of the concepts for each index, see the method ``craft``.
        most: Concepts that are returned, those with the largest mean index.
        each: Pictures of a concept, those with the crop in which there is most of it.
        seed: Of the masks.
        progress: Told how many pictures are done, of how many, for the crops and once more for the
            indices.
        options: As of :class:`onnxcam.Explainer` (preprocess, labels, device ...).

    Returns:
        The concepts. The ``share`` of one is its mean index, ``error`` the standard error of that
        among the pictures; ``values`` are the amounts of it in each picture's best crop.

    Raises:
        OnnxcamError: No picture can be explained, or as of :class:`onnxcam.Explainer`.
    """
    if min(concepts, most, each) < 1 or not 0 < crop <= 1:
        raise UsageError(
            f"{each} pictures of {most} of {concepts} concepts, by crops of {crop:g} of a side",
            "1 or more of each, and crops of more than 0 and up to 1",
        )
    explain = Explainer(model, "hirescam", feature_layer=layer, **options)
    scan, paths, failed = Scan(explain), [Path(path) for path in pictures], list[_Why]()
    read = _each(paths, _Crops(explain, scan, crop), failed, progress)
    features = np.concatenate([rows for _, rows in read]).T  # [channels, crops]
    columns, _ = factors(features, min(concepts, *features.shape), "craft")
    amount = [amounts(rows.T, columns).max(1) for _, rows in read]
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "bank.npy", columns.T)
        ask = _Asked(explain, scan.layer, str(Path(folder) / "bank.npy"), target, seed)
        found = _each([path for path, _ in read], partial(ask.indices, designs), failed, progress)
        indices = np.stack([row for _, row in found])  # [pictures, concepts]
        strength = dict(zip((path for path, _ in read), amount, strict=True))
        best = np.argsort(-indices.mean(0), kind="stable")[:most]
        chosen = [ask.concept(int(j), indices[:, j], strength, each) for j in best]
    bank = np.asarray(columns.T)
    return Concepts(scan.layer, "activation", tuple(chosen), tuple(failed), of="concept", bank=bank)


class _Asked:
    """Asks the method ``craft`` about concepts that are given.

    Args:
        explain: Explains the same inputs.
        layer: Name of the layer.
        bank: File of the concepts.
        target: The class.
        seed: Of the masks.
    """

    def __init__(
        self, explain: Explainer[Any], layer: str, bank: str, target: Wanted, seed: int
    ) -> None:
        self._model, self._bank, self._target = explain.model, bank, target
        self._how = {**same(explain), "feature_layer": layer, "seed": seed}

    def _explainer(self, designs: int, concept: int = -1) -> Explainer[Any]:
        settings = {"bank": self._bank, "designs": designs, "concept": concept}
        return Explainer(self._model, "craft", parameters=settings, **self._how)

    def indices(self, designs: int, path: Path) -> Array:
        """Return the index of each concept in a picture."""
        found = self._known(designs)(str(path), self._target)
        names = [name for name in found.parameters if name.startswith("importance_")]
        return np.array([found.parameters[name] for name in names])

    @cache  # noqa: B019 - lives as long as one call
    def _known(self, designs: int) -> Explainer[Any]:
        return self._explainer(designs)

    def concept(
        self, number: int, indices: Array, strength: Mapping[Path, Array], each: int
    ) -> Concept:
        """Return a concept with the pictures that have most of it."""
        order = sorted(strength, key=lambda path: -strength[path][number])[:each]
        shown = self._explainer(_ROUGH, number)([str(path) for path in order], self._target)
        values = tuple(float(strength[path][number]) for path in order)
        error = float(np.std(indices, ddof=1) / len(indices) ** 0.5) if len(indices) > 1 else None
        return Concept(number, tuple(shown), values, float(indices.mean()), error)


class _Crops:
    """Returns the features of a picture's crops, none negative, float64 [crops, channels].

    Args:
        explain: Knows how a picture becomes an input.
        scan: Runs inputs.
        side: Side of a crop, a part of the input's.

    Raises:
        UsageError: The input has no space to cut.
    """

    def __init__(self, explain: Explainer[Any], scan: Scan, side: float) -> None:
        layout = explain.catalog.input_layout
        self._explain, self._scan, self._side = explain, scan, side
        self._order = Order("unknown" if layout is None else layout.axes)

    def __call__(self, path: Path) -> Array:
        """Return the features of a picture's crops."""
        prepared = self._explain.description.prepare(path)
        x = self._order.channels_first(prepared.tensor)[0]
        found = []
        for crop in self._cut(x):
            given = rounded(self._order.as_model(crop[None]), prepared.tensor.dtype)
            found.append(np.maximum(self._scan.features(prepared, given), 0).mean(1))
        return np.stack(found)

    def _cut(self, x: Array) -> Iterator[Array]:
        """Yield the crops of an input [C, *space], each enlarged to its size."""
        sizes = [max(1, round(self._side * n)) for n in x.shape[1:]]
        starts = [
            range(0, n - size + 1, max(1, int(_APART * size)))
            for n, size in zip(x.shape[1:], sizes, strict=True)
        ]
        for at in product(*starts):
            box = tuple(slice(a, a + size) for a, size in zip(at, sizes, strict=True))
            yield resized(x[(slice(None), *box)], x.shape[1:])


def _each(
    paths: Sequence[Path], what: Callable[[Path], Array], failed: list[_Why],
    progress: Callable[[int, int], None] | None,
) -> list[tuple[Path, Array]]:  # fmt: skip
    """Return what is found of each picture; those that fail are put down with the reason.

    Raises:
        UsageError: None is left.
    """
    found = []
    for done, path in enumerate(paths, 1):
        try:
            found.append((path, what(path)))
        except OnnxcamError as error:
            failed.append((str(path), str(error)))
        if progress is not None:
            progress(done, len(paths))
    if not found:
        why = failed[0][1] if failed else "there is none"
        raise UsageError(f"no picture of the set can be explained: {why}", "give others")
    return found
