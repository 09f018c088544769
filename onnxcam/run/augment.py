"""Maps averaged over changed inputs: mirrored, lighter and darker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Catalog
from onnxcam.compose import MapPlan
from onnxcam.errors import UsageError
from onnxcam.methods.parameters import AUGMENT
from onnxcam.methods.registry import Estimate
from onnxcam.names import CLASS, MAP, SIGNED, TARGET
from onnxcam.targets import Target

Array: TypeAlias = np.ndarray[Any, Any]
Named: TypeAlias = dict[str, Array]
Variant: TypeAlias = tuple[bool, float]  # whether mirrored, and a factor of the values
_PLAIN: Variant = (False, 1.0)
_VARIANTS: dict[str, tuple[Variant, ...]] = {
    "none": (_PLAIN,),
    "flip": (_PLAIN, (True, 1.0)),
    "flip-scale": tuple(product((False, True), (0.9, 1.0, 1.1))),
}


def variants(settings: Mapping[str, Any]) -> tuple[Variant, ...]:
    """Return the variants of the input that a map is averaged over, the input itself first."""
    found = _VARIANTS[str(settings.get(AUGMENT.name, "none"))]
    return tuple(sorted(found, key=lambda variant: variant != _PLAIN))


class Variants:
    """The mean of what a method of many runs finds of the variants of an input.

    Args:
        rectify: Whether the method's maps are rectified: each before the mean, as in graph methods.
    """

    def __init__(self, rectify: bool) -> None:
        self._rectify, self._found = rectify, list[tuple[Estimate, bool]]()

    def add(self, estimate: Estimate, *, mirrored: bool) -> None:
        """Add what was found of a variant."""
        self._found.append((estimate, mirrored))

    @property
    def mean(self) -> Estimate:
        """The mean; its standard error is that of a mean of independent ones."""
        first, count = self._found[0][0], len(self._found)
        if count == 1:
            return first

        def mean(values: Callable[[Estimate], Array | None]) -> Array | None:
            rows = [(values(estimate), mirrored) for estimate, mirrored in self._found]
            turned = [r[..., ::-1] if m else r for r, m in rows if r is not None]
            return np.asarray(np.mean(turned, 0)) if len(turned) == count else None

        signed = mean(lambda e: e.signed)
        assert signed is not None, "every method has a map"
        raw = mean(lambda e: np.maximum(e.signed, 0)) if self._rectify else None
        square = mean(lambda e: None if e.error is None else np.square(e.error, dtype=np.float64))
        facts = {n: np.mean([e.facts[n] for e, _ in self._found], 0) for n in first.facts}
        error = None if square is None else np.sqrt(square / count)
        return Estimate(signed, error, facts, first.doubts, mean(lambda e: e.relief), raw)


def asked(target: Target, settings: Sequence[Mapping[str, Any]]) -> list[tuple[Variant, ...]]:
    """Return the variants of each map.

    Args:
        target: What is explained.
        settings: The settings of each map's method.

    Raises:
        UsageError: The target names a place, which lies elsewhere in a mirrored input.
    """
    found = [variants(each) for each in settings]
    if not target.turns and any(mirrored for each in found for mirrored, _ in each):
        raise UsageError(
            f"the {target.quantity} is another one in a mirrored input",
            "leave `augment` out, or explain a class",
        )
    return found


def augmented(
    run: Callable[[Mapping[str, Array]], Named],
    feeds: Mapping[str, Array],
    found: Named,
    maps: Sequence[MapPlan],
    catalog: Catalog,
    target: Target,
) -> Named:
    """Return the maps whose method is augmented as means over its variants of the input.

    The classes are those of the input itself. Maps are averaged as they are, mirrored back, after
    their negative part is cut off; nothing is scaled.

    Args:
        run: Runs the explained model.
        feeds: What it was run on.
        found: What it returned.
        maps: The maps.
        catalog: The layers of the model.
        target: What is explained.

    Raises:
        UsageError: The input is no picture that can be mirrored, or the target names a place.
    """
    each_map = zip(maps, asked(target, [m.settings for m in maps]), strict=True)
    wanted = [(m, each) for m, each in each_map if len(each) > 1]
    if not wanted:
        return {}
    every = dict.fromkeys(v for _, each in wanted for v in each)
    axis = width(catalog, wanted[0][0].method.name)
    told = {TARGET: found[CLASS]} if target.of_class else {}
    sums: Named = {}
    for mirrored, factor in every:
        plain = (mirrored, factor) == _PLAIN
        other = changed(feeds[catalog.input], axis, mirrored=mirrored, factor=factor)
        got = found if plain else run({**feeds, **told, catalog.input: other})
        for planned, each in wanted:
            if (mirrored, factor) in each:
                for port in (planned.port(MAP), planned.port(SIGNED)):
                    value = got[port][..., ::-1] if mirrored else got[port]
                    sums[port] = sums.get(port, 0) + value / len(each)
    return {port: np.asarray(total, np.float32) for port, total in sums.items()}


def width(catalog: Catalog, method: str) -> int:
    """Return the axis of the input that is mirrored.

    Raises:
        UsageError: It is no picture.
    """
    layout = catalog.input_layout
    if layout is None or not {"H", "W"} <= set(layout.axes) or layout.pieces:
        said = "unknown" if layout is None else layout.axes
        raise UsageError(
            f"{method} cannot be augmented: the input (axes {said}) is no picture with a width",
            "leave `augment` out",
        )
    return layout.axes.index("W")


def changed(given: Array, axis: int, *, mirrored: bool, factor: float) -> Array:
    """Return a variant of an input.

    Args:
        given: The input; whole numbers stay within their range.
        axis: Of its width.
        mirrored: Whether it is turned about.
        factor: What its values are multiplied with.
    """
    values = np.flip(given, axis) if mirrored else given
    if factor == 1:
        return np.ascontiguousarray(values)
    scaled = values.astype(np.float64) * factor
    if given.dtype.kind in "iu":
        limits = np.iinfo(given.dtype)
        scaled = np.clip(np.rint(scaled), limits.min, limits.max)
    return np.ascontiguousarray(scaled.astype(given.dtype))
