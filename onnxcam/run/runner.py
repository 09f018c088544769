"""Prepared inputs through a compiled model: its session, its feeds, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import RLock
from typing import Any, Literal, TypeAlias
from weakref import WeakValueDictionary

import numpy as np

from onnxcam import names
from onnxcam.compose import MapPlan, Plan
from onnxcam.errors import UsageError
from onnxcam.inputs import Prepared
from onnxcam.model.model import Model
from onnxcam.output.explanation import Explanation
from onnxcam.run import cache
from onnxcam.run.augment import augmented
from onnxcam.run.early import best_early
from onnxcam.run.feeds import Feeds
from onnxcam.run.groups import Batch, batch_of
from onnxcam.run.hardware import Provider
from onnxcam.run.results import Finding, Origin, explanation
from onnxcam.run.scores import checked_maps, checked_rows, diagnose
from onnxcam.run.session import Device, Session
from onnxcam.run.store import Store
from onnxcam.targets import TOP, resolve_target

Array: TypeAlias = np.ndarray[Any, Any]
Upsampling: TypeAlias = Literal["bicubic", "nearest", "none"]
_SHARED: WeakValueDictionary[tuple[Any, ...], Session] = WeakValueDictionary()
_MAKING = RLock()  # a session is made once, whoever asks first


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
    store: Store | None

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
        """The compiled model in ONNX Runtime; explainers of one model share it."""
        how = (self.device, self.threads)
        key = cache.name_of(self.model, self.plan, self.store)
        if key is None:
            return self._session()
        with _MAKING:
            found = _SHARED.get((key, *how))
            if found is None:
                found = _SHARED[key, *how] = self._session()
        return found

    def _session(self) -> Session:
        made = self._compiled
        return Session(made, device=self.device, threads=self.threads, early=best_early(made))

    def run(
        self,
        batch: Sequence[Prepared],
        targets: Sequence[Sequence[int]],
        labels: tuple[str, ...] | None,
    ) -> list[list[dict[str, Explanation]]]:
        """Explain inputs of one shape in one call.

        Args:
            batch: The inputs, each with a batch axis of 1.
            targets: Class indices of each; -1 is the top class.
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
        whole = batch_of(self.model, catalog)
        one = len(batch) == 1  # no copy of a picture for nothing
        given = batch[0].tensor if one else np.concatenate([p.tensor for p in batch], whole.axis)
        feeds = {catalog.input: whole.filled(given)}
        others, zeros = Feeds(self.model, catalog, catalog.input).of(batch)
        said = {**whole.said(len(batch)), **zeros}
        feeds.update(others)
        feeds[names.TARGET] = _rows(targets, whole)
        fetched = [name for name in self.session.outputs if name.startswith(names.PREFIX)]

        def once(fed: Mapping[str, Array]) -> dict[str, Array]:
            return dict(zip(fetched, self.session.run(dict(fed), fetched), strict=True))

        found = once(feeds)
        self._check(found, (whole.size if whole.is_fixed else None) or len(batch))
        rows = targets if self.plan.target.of_class else ()
        for target in {index for row in rows for index in row}:
            resolve_target(target, found[names.SCORE].shape[1], None)
        found.update(augmented(once, feeds, found, self.plan.maps, catalog, self.plan.target))
        return [
            [
                {
                    m.name or m.method.name: self._explanation(
                        m, prepared, _Cell(found, m, n, k), labels, said, targets[n][k]
                    )
                    for m in self.plan.maps
                }
                for k in range(len(targets[n]))
            ]
            for n, prepared in enumerate(batch)
        ]

    def _check(self, found: Mapping[str, Array], inputs: int) -> None:
        """Check that scores, maps and values are those of so many inputs."""
        checked_rows(len(found[names.SCORE]), inputs, self.plan.catalog.reduction)
        made = ((m.place, found[m.port(names.SIGNED)]) for m in self.plan.maps)
        checked_maps(made, inputs)
        self._check_values(found, inputs)

    def _check_values(self, found: Mapping[str, Array], inputs: int) -> None:
        """Check that a target is one number for each input, where only a run tells.

        Raises:
            UsageError: It is not.
        """
        values = found.get(names.VALUE)
        if values is not None and len(values) != inputs:
            raise UsageError(
                f"the target ({self.plan.target.quantity}) gave {len(values)} numbers for {inputs} "
                f"input{'s' * (inputs != 1)}: it must be one for each",
                "keep the axis of the inputs, as y[:, 208] does",
            )

    def _explanation(
        self,
        planned: MapPlan,
        prepared: Prepared,
        cell: _Cell,
        labels: tuple[str, ...] | None,
        said: Mapping[str, str],
        asked: int,
    ) -> Explanation:
        target = self.plan.target
        raw, signed = cell(names.MAP), cell(names.SIGNED)
        origin = Origin(
            self.model, self.plan.catalog, planned.method, planned.feature, self.upsampling,
            self.provider, self.gradient, planned.others,
        )  # fmt: skip
        found = Finding(
            raw,
            signed,
            cell.scores,
            int(cell(names.CLASS, shared=True)) if target.of_class else TOP,
            diagnose(
                raw,
                signed,
                cell.scores,
                float(cell(names.STEEPEST)),
                cell.rest,
                layered=planned.method.takes_feature,
            ),
            {**planned.settings, **said, **({"fuse": planned.fuse} if planned.fuse else {})},
            quantity=target.described(labels, asked),
            value=None if names.VALUE not in cell.found else float(cell(names.VALUE, shared=True)),
            relief=cell.relief,
        )
        return explanation(origin, prepared, found, labels)


def _rows(targets: Sequence[Sequence[int]], batch: Batch) -> Array:
    """Return the targets as the compiled model takes them: one row for all, or one for each.

    A shorter row is filled with its first target again.
    """
    most = max(map(len, targets))
    rows = np.array([[*row, *[row[0]] * (most - len(row))] for row in targets], np.int64)
    if (rows == rows[:1]).all():
        return rows[:1]
    return Batch(0, batch.size).filled(rows)


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
    def rest(self) -> float:
        """What a mean over the positions leaves of the gradient; 1 where none is taken."""
        return float(self(names.REST)) if self.planned.port(names.REST) in self.found else 1.0

    @property
    def relief(self) -> Array | None:
        """The signed values that the map is made of, [C, *space]; None where it has none."""
        return self(names.RELIEF) if self.planned.port(names.RELIEF) in self.found else None

    @property
    def scores(self) -> Array:
        value: Array = self.found[names.SCORE][self.n]
        return value
