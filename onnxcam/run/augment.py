"""Maps averaged over changed inputs: mirrored, lighter and darker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Catalog
from onnxcam.compose import MapPlan
from onnxcam.errors import UsageError
from onnxcam.names import CLASS, MAP, SIGNED, TARGET

Array: TypeAlias = np.ndarray[Any, Any]
Named: TypeAlias = dict[str, Array]
Variant: TypeAlias = tuple[bool, float]  # whether mirrored, and a factor of the values
_PLAIN: Variant = (False, 1.0)
_VARIANTS: dict[str, tuple[Variant, ...]] = {
    "none": (_PLAIN,),
    "flip": (_PLAIN, (True, 1.0)),
    "flip-scale": tuple(product((False, True), (0.9, 1.0, 1.1))),
}


def augmented(
    run: Callable[[Mapping[str, Array]], Named],
    feeds: Mapping[str, Array],
    found: Named,
    maps: Sequence[MapPlan],
    catalog: Catalog,
    *,
    of_class: bool,
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
        of_class: Whether the target speaks of a class.

    Raises:
        UsageError: The input is no picture that can be mirrored.
    """
    asked = [(m, _VARIANTS[str(m.settings.get("augment", "none"))]) for m in maps]
    asked = [(m, each) for m, each in asked if len(each) > 1]
    if not asked:
        return {}
    variants = dict.fromkeys(v for _, each in asked for v in each)
    axis = _width(catalog, asked[0][0].method.name)
    told = {TARGET: found[CLASS]} if of_class else {}
    sums: Named = {}
    for mirrored, factor in variants:
        plain = (mirrored, factor) == _PLAIN
        changed = _changed(feeds[catalog.input], axis, mirrored=mirrored, factor=factor)
        got = found if plain else run({**feeds, **told, catalog.input: changed})
        for planned, each in asked:
            if (mirrored, factor) in each:
                for port in (planned.port(MAP), planned.port(SIGNED)):
                    value = got[port][..., ::-1] if mirrored else got[port]
                    sums[port] = sums.get(port, 0) + value / len(each)
    return {port: np.asarray(total, np.float32) for port, total in sums.items()}


def _width(catalog: Catalog, method: str) -> int:
    """Return the axis of the input that is mirrored."""
    layout = catalog.input_layout
    if layout is None or not {"H", "W"} <= set(layout.axes) or layout.pieces:
        said = "unknown" if layout is None else layout.axes
        raise UsageError(
            f"{method} cannot be augmented: the input (axes {said}) is no picture with a width",
            "leave `augment` out",
        )
    return layout.axes.index("W")


def _changed(given: Array, axis: int, *, mirrored: bool, factor: float) -> Array:
    values = np.flip(given, axis) if mirrored else given
    if factor == 1:
        return np.ascontiguousarray(values)
    scaled = values.astype(np.float64) * factor
    if given.dtype.kind in "iu":
        limits = np.iinfo(given.dtype)
        scaled = np.clip(np.rint(scaled), limits.min, limits.max)
    return np.ascontiguousarray(scaled.astype(given.dtype))
