"""Prepared inputs through a compiled model: its sessions, its feeds, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from onnxcam import names
from onnxcam.analysis.layers import Candidate, Catalog
from onnxcam.errors import InputError, ModelError
from onnxcam.inputs import Prepared
from onnxcam.methods import GraphMethod
from onnxcam.model.model import Model
from onnxcam.output.explanation import Explanation
from onnxcam.run import cache
from onnxcam.run.results import explanation
from onnxcam.run.scores import diagnose
from onnxcam.run.session import Device, Provider, Session
from onnxcam.targets.names import resolve_target

Array: TypeAlias = np.ndarray[Any, Any]
Upsampling: TypeAlias = Literal["bicubic", "nearest", "none"]
_FETCH = [names.MAP, names.CLASS, names.SIGNED, names.SCORE, names.STEEPEST]


@dataclass(frozen=True, eq=False)
class Runner:
    """Explains prepared inputs of one model by one method.

    Attributes:
        model: The model.
        catalog: Its layers.
        method: The method.
        feature: The feature layer.
        upsampling: How the map comes to the input's size.
        device: Where to run.
        threads: Threads of ONNX Runtime; None lets it decide.
        store: Where compiled models are kept; None for nowhere.
    """

    model: Model
    catalog: Catalog
    method: GraphMethod
    feature: Candidate
    upsampling: Upsampling
    device: Device
    threads: int | None
    store: cache.Store | None
    _sessions: dict[bool, Session] = field(default_factory=dict, repr=False)

    @property
    def provider(self) -> Provider:
        """Where it runs and why."""
        return self.session(several=False).provider

    @cached_property
    def gradient(self) -> str:
        """How true the gradient is: "exact" or "straight-through (operators)"."""
        return self._one.metadata[names.GRADIENT]

    @cached_property
    def _one(self) -> Model:
        """The compiled model for one target."""
        return self._compiled(1)

    def _compiled(self, targets: int | None) -> Model:
        return cache.explained(
            self.model, self.catalog, self.method, self.feature, targets=targets, kept=self.store
        )

    def session(self, *, several: bool) -> Session:
        """Return the session for one target or for any number of them; it is made once."""
        if several not in self._sessions:
            model = self._compiled(None) if several else self._one
            self._sessions[several] = Session(model, device=self.device, threads=self.threads)
        return self._sessions[several]

    def run(
        self,
        batch: Sequence[Prepared],
        targets: Sequence[int],
        extra: Mapping[str, Array],
        labels: tuple[str, ...] | None,
    ) -> list[list[Explanation]]:
        """Explain inputs of one shape in one call.

        Args:
            batch: The inputs, each with a batch axis of 1.
            targets: Class indices; -1 is the top class.
            extra: Arrays for the model's other inputs, by name.
            labels: Names of the classes, None where nothing says them.

        Returns:
            For every input an explanation per target.

        Raises:
            InputError: An input is missing, or ONNX Runtime fails.
            ModelError: The model mixes its inputs up.
            UsageError: There is no such class.
        """
        session = self.session(several=len(targets) > 1)
        feeds = {self.catalog.input: np.concatenate([p.tensor for p in batch])}
        feeds.update(other_feeds(self.model, self.catalog, extra))
        maps, classes, signed, scores, steepest = session.run(
            {**feeds, names.TARGET: np.array(targets, np.int64)}, _FETCH
        )
        if len(maps) != len(batch):
            raise ModelError(
                f"the model turned {len(batch)} inputs into {len(maps)} maps",
                "give one at a time, an array with a batch of 1 (from Python: batch_size=1)",
            )
        for target in targets:
            resolve_target(target, scores.shape[1], None)
        return [
            [
                explanation(
                    self,
                    p,
                    maps[n, k],
                    signed[n, k],
                    scores[n],
                    int(classes[n, k]),
                    diagnose(maps[n, k], signed[n, k], scores[n], steepest[n, k]),
                    labels,
                )
                for k in range(len(targets))
            ]
            for n, p in enumerate(batch)
        ]


def other_feeds(model: Model, catalog: Catalog, extra: Mapping[str, Array]) -> dict[str, Array]:
    """Return what is fed to the inputs that maps are not laid over.

    Args:
        model: The model.
        catalog: Its layers.
        extra: Arrays by input name.

    Raises:
        InputError: One is missing.
    """
    needed = [p for p in model.inputs if p.name != catalog.input]
    missing = [p for p in needed if p.name not in extra]
    if missing:
        listed = ", ".join(f"{p.name!r} {p.dtype}{list(p.shape or ())}" for p in missing)
        raise InputError(
            f"the model has more inputs: {listed}", "give them with extra_inputs={name: array}"
        )
    return {p.name: np.asarray(extra[p.name], p.dtype) for p in needed}
