"""Prepared inputs through a compiled model: its session, its feeds, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from onnxcam import names
from onnxcam.analysis.layout import Layout
from onnxcam.compose import MapPlan, Plan
from onnxcam.errors import InputError, ModelError
from onnxcam.inputs import Prepared
from onnxcam.model.model import Model
from onnxcam.output.explanation import Explanation
from onnxcam.output.upsample import upsample
from onnxcam.run import cache
from onnxcam.run.scores import diagnose, probability
from onnxcam.run.session import Device, Provider, Session
from onnxcam.targets import TOP, resolve_target

Array: TypeAlias = np.ndarray[Any, Any]
Upsampling: TypeAlias = Literal["bicubic", "nearest", "none"]


@dataclass(frozen=True, eq=False)
class Runner:
    """Explains prepared inputs of one model by one plan, in one session.

    Attributes:
        model: The model.
        plan: What is explained, for any number of targets.
        upsampling: How the maps come to the input's size.
        device: Where to run.
        threads: Threads of ONNX Runtime; None lets it decide.
        store: Where compiled models are kept; None for nowhere.
    """

    model: Model
    plan: Plan
    upsampling: Upsampling
    device: Device
    threads: int | None
    store: cache.Store | None

    @property
    def provider(self) -> Provider:
        """Where it runs and why."""
        return self.session.provider

    @cached_property
    def gradient(self) -> str:
        """How true the gradient is: "exact" or "straight-through (operators)"."""
        return self._compiled.metadata[names.GRADIENT]

    @cached_property
    def _compiled(self) -> Model:
        return cache.explained(self.model, self.plan, self.store)

    @cached_property
    def session(self) -> Session:
        """The compiled model in ONNX Runtime."""
        return Session(self._compiled, device=self.device, threads=self.threads)

    def run(
        self,
        batch: Sequence[Prepared],
        targets: Sequence[int],
        extra: Mapping[str, Array],
        labels: tuple[str, ...] | None,
    ) -> list[list[dict[str, Explanation]]]:
        """Explain inputs of one shape in one call.

        Args:
            batch: The inputs, each with a batch axis of 1.
            targets: Class indices; -1 is the top class.
            extra: Arrays for the model's other inputs, by name.
            labels: Names of the classes, None where nothing says them.

        Returns:
            For every input and target an explanation of each map, by the map's name (that of its
            method where there is only one).

        Raises:
            InputError: An input is missing, or ONNX Runtime fails.
            ModelError: The model mixes its inputs up.
            UsageError: There is no such class.
        """
        catalog = self.plan.catalog
        feeds = {catalog.input: np.concatenate([p.tensor for p in batch])}
        feeds.update(self._others(extra))
        feeds[names.TARGET] = np.array(targets, np.int64)
        fetched = [name for name in self.session.outputs if name.startswith(names.PREFIX)]
        found = dict(zip(fetched, self.session.run(feeds, fetched), strict=True))
        rows = len(found[names.SCORE])
        if rows != len(batch):
            raise ModelError(
                f"the model turned {len(batch)} inputs into {rows} maps",
                "give one at a time, an array with a batch of 1 (from Python: batch_size=1)",
            )
        for target in targets:
            resolve_target(target, found[names.SCORE].shape[1], None)
        return [
            [
                {
                    m.name or m.method.name: self._explanation(
                        m, prepared, _Cell(found, m, n, k), labels
                    )
                    for m in self.plan.maps
                }
                for k in range(len(targets))
            ]
            for n, prepared in enumerate(batch)
        ]

    def _others(self, extra: Mapping[str, Array]) -> dict[str, Array]:
        needed = [p for p in self.model.inputs if p.name != self.plan.catalog.input]
        missing = [p for p in needed if p.name not in extra]
        if missing:
            listed = ", ".join(f"{p.name!r} {p.dtype}{list(p.shape or ())}" for p in missing)
            raise InputError(
                f"the model has more inputs: {listed}",
                "give them with `extra_inputs={name: array}`",
            )
        return {p.name: np.asarray(extra[p.name], p.dtype) for p in needed}

    def _explanation(
        self, planned: MapPlan, prepared: Prepared, cell: _Cell, labels: tuple[str, ...] | None
    ) -> Explanation:
        catalog, target = self.plan.catalog, self.plan.target
        raw, signed, scores = cell(names.MAP), cell(names.SIGNED), cell.scores
        size = _spatial_size(prepared.tensor, catalog.input_layout, raw.ndim)
        upsampling = self.upsampling if size is not None else "none"
        index = int(cell(names.CLASS, shared=True)) if target.of_class else TOP
        return Explanation(
            map=upsample(raw, size or raw.shape, upsampling),
            raw_map=raw,
            signed_map=signed,
            scores=scores,
            target=index,
            label=labels[index] if labels and 0 <= index < len(labels) else None,
            probability=probability(scores, index, catalog.reduction) if index >= 0 else None,
            feature_layer=planned.feature.name,
            reduction_layer=catalog.reduction.name,
            method=planned.method.name,
            parameters={"upsampling": upsampling},
            diagnosis=diagnose(raw, signed, scores, float(cell(names.STEEPEST))),
            source=prepared.source,
            picture=prepared.picture,
            box=prepared.box,
            tensor=prepared.tensor[0],
            layout=_unbatched(catalog.input_layout),
            model_sha256=self.model.sha256,
            provider=self.provider.name,
            gradient=self.gradient,
            labels=labels,
            signed=planned.method.signed,
            quantity=target.described(labels),
            value=None if names.VALUE not in cell.found else float(cell(names.VALUE, shared=True)),
        )


@dataclass(frozen=True)
class _Cell:
    """What came back for one map of one input and target."""

    found: Mapping[str, Array]
    planned: MapPlan
    n: int
    k: int

    def __call__(self, base: str, *, shared: bool = False) -> Array:
        """Return the part of an output; of one that all maps share where ``shared``."""
        value: Array = self.found[base if shared else self.planned.port(base)][self.n, self.k]
        return value

    @property
    def scores(self) -> Array:
        value: Array = self.found[names.SCORE][self.n]
        return value


def _spatial_size(tensor: Array, layout: Layout | None, rank: int) -> tuple[int, ...] | None:
    """Return the spatial size of the input that a map of this rank is laid over."""
    if layout is None or len(layout.space) != rank or len(layout.axes) != tensor.ndim:
        return None
    return tuple(tensor.shape[i] for i in layout.space)


def _unbatched(layout: Layout | None) -> str | None:
    return None if layout is None or "?" in layout.axes else layout.axes.replace("N", "")
