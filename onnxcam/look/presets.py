"""Help to find out how a model wants its pictures: every preset tried on one picture."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxcam.analysis.layers import catalog
from onnxcam.analysis.ports import model_input
from onnxcam.errors import NoDescriptionError, OnnxcamError, UsageError, bounded
from onnxcam.inputs import PRESETS, InputSpec, class_names, prepare, resolve, write_toml
from onnxcam.model.draft import exposed
from onnxcam.model.model import Libraries, Model, load
from onnxcam.run.scores import probability
from onnxcam.run.session import Session


@dataclass(frozen=True)
class Trial:
    """What one preset makes of a picture.

    Attributes:
        preset: Its name.
        top: Label (or index) of the highest score.
        probability: Of that class, None where the scores are no logits of classes.
        second: The runner-up.
        summary: What the preset does, in words.
        problem: Why it cannot be used, empty when it can.
    """

    preset: str
    top: str = ""
    probability: float | None = None
    second: str = ""
    summary: str = ""
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


@bounded("the model cannot be tried")
def try_presets(
    model: str | os.PathLike[str],
    image: str | os.PathLike[str],
    *,
    labels: Path | None = None,
    op_library: Libraries = None,
) -> list[Trial]:
    """Run a picture through a model under every preset (and the sidecar's description).

    Args:
        model: Path of the model.
        image: Path of a picture.
        labels: File with the names of the classes.
        op_library: File of a library with the model's custom operators, or several.

    Returns:
        One trial per preset; what lies beside or in the model comes first, as "found".
    """
    trier = Trier(model, labels, op_library)
    trials = []
    for preset, spec in trier.specs():
        if isinstance(spec, OnnxcamError):
            trials.append(Trial(preset, problem=spec.message))
            continue
        scores = trier.scores(prepare(image, spec, trier.declared).tensor)
        trials.append(_trial(preset, spec, scores, trier.catalog, trier.labels))
    return trials


class Trier:
    """A model that every preset is tried on.

    Args:
        model: Its path.
        labels: File with the names of the classes.
        op_library: File of a library with the model's custom operators, or several.

    Attributes:
        catalog: Its layers.
        declared: Its input.
        labels: Names of the classes that were given, or None.

    Raises:
        UsageError: The model has more inputs than a picture.
    """

    def __init__(
        self, model: str | os.PathLike[str], labels: Path | None, op_library: Libraries
    ) -> None:
        self._model = load(model, op_library=op_library)
        self.catalog = catalog(self._model)
        self.declared = model_input(self._model, self.catalog)
        others = [p.name for p in self._model.inputs if p.name != self.declared.name]
        if others:
            raise UsageError(
                f"the model has more inputs than the picture: {', '.join(others)}",
                "describe it in a TOML file and name that as `preprocess`",
            )
        self._name = self.catalog.reduction.name
        self._session = Session(exposed(self._model, [self._name]), device="cpu")
        self.labels = class_names(labels)

    def specs(self) -> Iterator[tuple[str, InputSpec | OnnxcamError]]:
        """Yield what is described beside or in the model, as "found", and every preset."""
        for preset in ("found", *(p for p in PRESETS if p != "none")):
            try:
                yield preset, _resolved(self._model, self.declared, preset)
            except NoDescriptionError:
                continue
            except OnnxcamError as error:
                yield preset, error

    def scores(self, tensor: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the scores of the classes, [C]."""
        (scores,) = self._session.run({self.declared.name: tensor}, [self._name])
        return _classes(scores, self.catalog)


def save_preset(
    model: str | os.PathLike[str], preset: str, *, labels: Path | None = None, force: bool = False
) -> Path:
    """Write a preset as the sidecar ``<model>.toml``, completed with the model's own size.

    Raises:
        UsageError: There is no such preset, or the file exists and ``force`` is not set.
    """
    if preset not in PRESETS:
        raise UsageError(f"no preset {preset!r}", f"choose one of {', '.join(PRESETS)}")
    path = Path(model).with_suffix(".toml")
    if path.exists() and not force:
        raise UsageError(f"{path} exists", "add `force=True` to replace it")
    loaded = load(model)
    spec = _resolved(loaded, model_input(loaded, catalog(loaded)), preset)
    if labels is not None:
        spec = replace(spec, labels=class_names(labels))
    write_toml(spec, path)
    return path


def _resolved(model: Model, declared: Any, preset: str) -> InputSpec:
    option = None if preset == "found" else preset
    return resolve(declared, model_path=model.path, metadata=model.metadata, option=option)


def _classes(scores: np.ndarray[Any, Any], found: Any) -> np.ndarray[Any, Any]:
    batch, classes = found.reduction.batch_axis, found.reduction.class_axis
    own = [axis for axis in (batch, classes) if axis is not None]
    first = np.moveaxis(scores, own, range(len(own)))
    first = first if batch is None else first[0]
    rows = first.reshape(1 if classes is None else len(first), -1).sum(1)
    return np.asarray(rows[found.reduction.first :])


def _trial(
    preset: str,
    spec: InputSpec,
    scores: np.ndarray[Any, Any],
    found: Any,
    labels: tuple[str, ...] | None,
) -> Trial:
    order = np.argsort(scores)[::-1]
    named = labels or spec.labels
    texts = [named[i] if named and i < len(named) else f"class {i}" for i in order[:2]]
    top = int(order[0])
    return Trial(
        preset,
        texts[0],
        probability(scores, top, found.reduction),
        texts[1] if len(texts) > 1 else "",
        spec.summary,
    )
