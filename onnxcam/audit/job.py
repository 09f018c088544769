"""What an audit does, in a form that is written down, compared and handed to other processes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from onnxcam.errors import InputError, UsageError, json_text
from onnxcam.files import regular

NAMES = ("model", "baseline")
JOB = "job.json"  # in the folder of an audit
Place: TypeAlias = "str | os.PathLike[str]"
_THEIRS = "baseline_"  # before the name of an option that differs for the baseline


class Explaining(TypedDict, total=False):
    """How the models are explained, as :class:`onnxcam.Explainer` takes it.

    Attributes:
        labels: Names of the classes; this and the next three of both models.
        preprocess: How a picture becomes the input.
        feature_layer: Tensor that the maps are made of.
        reduction_layer: Tensor with the scores.
        baseline_labels: What differs for the baseline; so for the next three.
        baseline_preprocess: See there.
        baseline_feature_layer: See there.
        baseline_reduction_layer: See there.
        parameters: Of the methods.
        device: Where both run.
    """

    labels: Place | None
    preprocess: str | None
    feature_layer: str | None
    reduction_layer: str | None
    baseline_labels: Place | None
    baseline_preprocess: str | None
    baseline_feature_layer: str | None
    baseline_reduction_layer: str | None
    parameters: Mapping[str, Any] | None
    device: str


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of both models, and what differs for the baseline, as JSON holds them.

    Paths are in full, and what is None is left out.
    """
    both: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            found = theirs if name.startswith(_THEIRS) else both
            found[name.removeprefix(_THEIRS)] = _plain(name.removeprefix(_THEIRS), value)
    return both, theirs


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    is_file = name in ("labels", "preprocess") and Path(str(value)).is_file()
    return str(Path(str(value)).absolute()) if is_file else value


@dataclass(frozen=True)
class Job:
    """An audit as it was asked for.

    Attributes:
        models: The model's file and, where there is one, the baseline's.
        methods: Names of the methods.
        metrics: Names of metrics of faithfulness.
        options: Of :class:`onnxcam.Explainer`, as JSON can hold them.
        baseline_options: What differs in them for the baseline.
        keep_maps: Whether the maps are kept.
        chunk: Samples that are committed together.
        facts: What must be the same when it is resumed: hashes of models, data and policy,
            versions.
    """

    models: tuple[str, ...]
    methods: tuple[str, ...] = ("gradcam",)
    metrics: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    baseline_options: Mapping[str, Any] = field(default_factory=dict)
    keep_maps: bool = True
    chunk: int = 64
    facts: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Return it as JSON, which :meth:`read` takes."""
        return json_text(asdict(self)) + "\n"

    @classmethod
    def read(cls, place: Path) -> Job:
        """Read what :meth:`text` wrote.

        Raises:
            InputError: It cannot be read.
        """
        try:
            regular(place)
            return cls.parsed(place.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(f"{place} is no audit's job ({error})", "is the folder one?") from None

    @classmethod
    def parsed(cls, text: str) -> Job:
        """Return what :meth:`text` wrote; ValueError, KeyError or TypeError of anything else."""
        said = json.loads(text)
        lists: dict[str, Any] = {k: tuple(said.pop(k)) for k in ("models", "methods", "metrics")}
        return cls(**lists, **said)

    def check_same(self, other: Job) -> None:
        """Raise UsageError where an audit cannot be resumed as another, with what differs."""
        mine, yours = _flat(asdict(self)), _flat(asdict(other))
        changed = [
            f"{name} was {mine.get(name)!r} and is {yours.get(name)!r}"
            for name in sorted({*mine, *yours})
            if mine.get(name) != yours.get(name)
        ]
        if changed:
            raise UsageError(
                f"the audit cannot be resumed: {'; '.join(changed[:4])}",
                "run it as it was started, or start another in another folder",
            )


def _flat(said: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with names such as facts.model."""
    if not isinstance(said, Mapping):
        return {prefix: list(said) if isinstance(said, tuple) else said}
    found: dict[str, Any] = {}
    for name, value in said.items():
        found |= _flat(value, f"{prefix}.{name}" if prefix else name)
    return found
