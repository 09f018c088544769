"""Which class of a detector stands for nothing: told once for a model, not by each picture.

It is the first or the last; where neither a label nor a caller says which, the file is run on
inputs that show nothing (zeros, and noise), and it is the one that is said there at more positions.
Told by each picture it changed between them: in one full of findings another class is said most.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxcam.analysis.layers import Catalog
from onnxcam.errors import OnnxcamError
from onnxcam.model.model import Model
from onnxcam.run.cache import key_of, said_by, saying
from onnxcam.run.samples import sample_feeds
from onnxcam.run.store import Store

if TYPE_CHECKING:  # what is no detector does not look for one
    from onnxcam.analysis.detectors import Detector

_SEEDS = 2  # inputs of noise, beside zeros


def told(
    model: Model,
    catalog: Catalog,
    declared: Callable[[], Mapping[str, Any] | None],
    kept: Store | None = None,
) -> Catalog:
    """Return the layers with the class that stands for nothing, where one of the scores' does.

    Args:
        model: The model.
        catalog: Its layers.
        declared: Returns what a caller or the labels say of the detector.
        kept: Where what a run tells is kept; None for nowhere.
    """
    reduction = catalog.reduction
    if reduction.best is None or not reduction.best.background:
        return catalog
    from onnxcam.analysis.detectors import detector  # late: see above

    found = detector(model, catalog, declared())
    if found is None or not found.background:
        return catalog
    place = found.nothing
    if place is None and found.heads:
        place = _kept(model, catalog, found, kept)
    return replace(
        catalog, reduction=replace(reduction, best=replace(reduction.best, nothing=place))
    )


def _kept(model: Model, catalog: Catalog, found: Detector, kept: Store | None) -> int | None:
    if kept is None:
        return _run(model, catalog, found)
    key = f"{key_of(model, [catalog.reduction.name, 'nothing'])}.nothing"
    said = said_by(kept.get(key))
    if said is not None:
        place: int | None = json.loads(said)
        return place
    place = _run(model, catalog, found)
    kept.put(key, saying(json.dumps(place).encode()))
    return place


def _run(model: Model, catalog: Catalog, found: Detector) -> int | None:
    """Return the class by runs on inputs that show nothing; None where it does not run on them."""
    from onnxcam.run.detections import Finder

    finder = Finder(model, catalog, found, "cpu", None)
    noise = [sample_feeds(model, seed=seed) for seed in range(_SEEDS)]
    blank = {name: np.zeros_like(a) if a.dtype.kind == "f" else a for name, a in noise[0].items()}
    try:
        last = [finder.counted(feeds) for feeds in (blank, *noise)]
    except OnnxcamError:
        return None
    return -1 if 2 * sum(last) > len(last) else 0
