"""Prepared inputs through methods that run a model many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Candidate, Catalog
from onnxcam.compose.parts import Parts, parts
from onnxcam.errors import InputError
from onnxcam.inputs import Prepared
from onnxcam.methods import SampledMethod
from onnxcam.methods.needs import Background, Multipliers, MultipliersAtLayer, Straight
from onnxcam.methods.parameters import AUGMENT, Setting
from onnxcam.methods.registry import Estimate
from onnxcam.model.model import Model
from onnxcam.names import SCORE, VALUE
from onnxcam.output.explanation import Explanation
from onnxcam.run.answering import Engine
from onnxcam.run.augment import Variants, asked, changed, width
from onnxcam.run.background import background
from onnxcam.run.feeds import Feeds
from onnxcam.run.fitting import channels, check_asked, check_places, misplaced, noise, quantity
from onnxcam.run.groups import batch_of
from onnxcam.run.hardware import Provider
from onnxcam.run.interrupt import Limit, stoppable
from onnxcam.run.order import one_input
from onnxcam.run.probe import Probe
from onnxcam.run.progress import Progress, Steps
from onnxcam.run.results import Finding, Origin, explanation
from onnxcam.run.runner import Upsampling
from onnxcam.run.scores import diagnose
from onnxcam.run.session import Device, Session, choose_provider
from onnxcam.run.straight import Sessions
from onnxcam.run.together import splits
from onnxcam.targets import TOP, Score, Target, resolve_target

if TYPE_CHECKING:
    from onnxcam.analysis.detectors import Detector
    from onnxcam.run.detections import Finder

Array: TypeAlias = np.ndarray[Any, Any]
_AGAINST = frozenset((Multipliers, MultipliersAtLayer))


@dataclass(frozen=True, eq=False)
class Sampler:
    """Explains prepared inputs of one model by one method that runs it many times.

    It is to such methods what :class:`onnxcam.run.runner.Runner` is to graph methods.

    Attributes:
        model: The model.
        catalog: Its layers.
        method: The method.
        feature: The feature layer; the input for methods on the input.
        upsampling: How the map comes to the input's size.
        device: Where to run.
        threads: Threads of ONNX Runtime; None lets it decide.
        settings: A value for every parameter of the method.
        seed: Of the random numbers; those of an input do not depend on what was explained before.
        batch_size: The most inputs in one run, where the model's batch is dynamic.
        progress: Called with the runs done and the number of them (None where that is not known)
            while an input is explained.
        name: What the map is called.
        target: What is explained.
        budget: The most runs for one input, behind which the map so far is taken; None for any.
        detector: Where the model says what it finds, for targets that are boxes; else None.
        finder: What runs the model as a detector, for methods that compare boxes; else None.
    """

    model: Model
    catalog: Catalog
    method: SampledMethod
    feature: Candidate
    upsampling: Upsampling
    device: Device
    threads: int | None
    settings: Mapping[str, Setting]
    seed: int
    batch_size: int
    progress: Progress | None
    name: str
    target: Target = Score()  # noqa: RUF009 - frozen
    budget: int | None = None
    detector: Detector | None = None
    finder: Finder | None = None

    def __post_init__(self) -> None:
        """Refuse what the method cannot have.

        Raises:
            UsageError: It cannot end early, and has a budget; or the box is another one in every
                input that it runs.
        """
        check_asked(self.method, self.target, self.budget, matched=self.matched)

    @property
    def matched(self) -> bool:
        """Whether a box is another row in every input, and is looked for again in each."""
        rows = None if self.detector is None else self.detector.rows
        return rows is not None and not self.target.of_class

    @property
    def provider(self) -> Provider:
        """Where it runs and why."""
        return self._engine.whole.provider

    @property
    def gradient(self) -> str:
        """How true the gradient is: "exact", "straight-through (operators)" or "not used"."""
        return self._parts.gradient

    @cached_property
    def _origin(self) -> Origin:
        return Origin(
            self.model, self.catalog, self.method, self.feature, self.upsampling, self.provider,
            self.gradient,
        )  # fmt: skip

    @cached_property
    def _parts(self) -> Parts:
        whole = (self.model, self.catalog, self.method, self.feature, self.target)
        split = False
        if Straight in self.method.needs and self.detector is None:
            split = splits(self.model, self.catalog, choose_provider(self.device))
        return parts(*whole, self.detector, self.settings, split=split)

    def _session(self, model: Model) -> Session:
        return Session(model, device=self.device, threads=self.threads)

    @cached_property
    def _engine(self) -> Engine:
        """The sessions, made when they are first used."""
        port = next(p for p in self.model.inputs if p.name == self.catalog.input)
        tail, batch = self._parts.head, batch_of(self.model, self.catalog)
        cut = self._parts.halves
        return Engine(
            self._session(self._parts.whole),
            None if tail is None else self._session(tail.model),
            tail,
            self.catalog,
            self.feature.name,
            self.feature.layout,
            port.dtype or np.dtype(np.float32),
            self.batch_size if batch.size is None else batch.size,
            batch,
            self._parts.start,
            SCORE if isinstance(self.target, Score) else VALUE,
            self.target.of_class,
            self.finder,
            self.matched,
            not _AGAINST.isdisjoint(self.method.needs),
            None if cut is None else Sessions(
                cut, self._session(cut.before.model), self._session(cut.behind.model)
            ),
        )  # fmt: skip

    def run(
        self,
        batch: Sequence[Prepared],
        targets: Sequence[Sequence[int]],
        labels: tuple[str, ...] | None,
    ) -> list[list[dict[str, Explanation]]]:
        """Explain inputs one after another; see :meth:`onnxcam.run.runner.Runner.run`.

        Returns:
            For every input and target the explanation, by the name of the map.
        """
        return [
            [{self.name: e} for e in self._explained(prepared, classes, labels)]
            for prepared, classes in zip(batch, targets, strict=True)
        ]

    def _explained(
        self,
        prepared: Prepared,
        targets: Sequence[int],
        labels: tuple[str, ...] | None,
    ) -> list[Explanation]:
        others, zeros = Feeds(self.model, self.catalog, self.catalog.input).of([prepared])
        limit = Limit(self.budget)
        estimate, probe = self._tried(prepared.tensor, targets, others, limit)
        signed = estimate.signed.astype(np.float32)
        raw = np.maximum(signed, 0) if self.method.rectify else signed
        raw = raw if estimate.raw is None else estimate.raw.astype(np.float32)
        made, layered = [], self.method.takes_feature
        for k, target in enumerate(probe.classes):
            error = None if estimate.error is None else estimate.error[k].astype(np.float32)
            doubts = (
                *diagnose(raw[k], signed[k], probe.scores, probe.steepest[k], layered=layered),
                *filter(None, estimate.doubts[k : k + 1]),
                *noise(signed[k], error),
                *misplaced(self.method, self.feature),
            )
            facts: dict[str, Any] = {n: float(found[k]) for n, found in estimate.facts.items()}
            if limit.reached:
                facts["stopped"] = limit.reached
                doubts = (f"{limit.reached}: this is the map so far", *doubts)
            said = {**self.settings, **({"seed": self.seed} if self.method.stochastic else {})}
            said |= {"scores": "similarity of boxes"} if self.matched else {}
            relief = None if estimate.relief is None else estimate.relief[k].astype(np.float32)
            finding = Finding(
                raw[k], signed[k], probe.scores, target if self.target.of_class else TOP, doubts,
                {**said, **facts, **zeros}, error,
                quantity(self.method, self.target, self.target.described(labels, target)),
                None if probe.values is None else float(probe.values[k]),
                relief,
            )  # fmt: skip
            made.append(explanation(self._origin, prepared, finding, labels))
        return made

    def _tried(
        self, tensor: Array, targets: Sequence[int], others: Mapping[str, Array], limit: Limit
    ) -> tuple[Estimate, Probe]:
        """Return an estimate; by runs of one input where the file holds a batch of one inside."""
        try:
            return self.estimate(tensor, targets, others, limit)
        except InputError:
            if self._engine.most == 1 or self._engine.batch.is_fixed:
                raise
            return replace(self, batch_size=1).estimate(tensor, targets, others, limit)

    def estimate(
        self,
        tensor: Array,
        targets: Sequence[int],
        others: Mapping[str, Array],
        limit: Limit | None = None,
    ) -> tuple[Estimate, Probe]:
        """Return what the method finds of one input, and what it asked.

        Args:
            tensor: The input in the model's axes, with a batch of 1.
            targets: Class indices; -1 is the top class.
            others: What is fed to the model's other inputs.
            limit: Says when to stop; told why, where it did.
        """
        limit, (how,) = limit or Limit(self.budget), asked(self.target, [self.settings])
        axis = width(self.catalog, self.method.name) if len(how) > 1 else -1
        steps, total = Steps(self.progress), Variants(self.method.rectify)
        found, first = self._once(tensor, targets, others, limit, steps, len(how))
        total.add(found, mirrored=False)
        same, probe = first.classes if self.target.of_class else targets, first
        for mirrored, factor in how[1:]:
            if limit.reached or not limit.room(probe.done, 1):
                break
            limit.spent += probe.done
            other = changed(tensor, axis, mirrored=mirrored, factor=factor)
            found, probe = self._once(other, same, others, limit, steps, 0)
            total.add(found, mirrored=mirrored)
        return total.mean, first

    def _once(
        self, tensor: Array, targets: Sequence[int], others: Mapping[str, Array], limit: Limit,
        steps: Steps, times: int,
    ) -> tuple[Estimate, Probe]:  # fmt: skip
        """Return what the method finds of one input as it is, or changed.

        Args:
            tensor: The input.
            targets: As of :meth:`estimate`, and so the others.
            others: What else is fed.
            limit: Says when to stop.
            steps: Counts the runs.
            times: How often the input is explained in all, where that is the first time; else 0.
        """
        probe = Probe(
            self._engine, one_input(tensor, self.catalog.input_layout), others, targets,
            np.random.default_rng(self.seed), steps.add, limit,
        )  # fmt: skip
        for target in targets if self.target.of_class else ():
            resolve_target(target, len(probe.scores), None)
        file, axis = str(self.settings.get("background", "")), self._engine.batch.axis
        values = [
            background(file, probe, tensor, axis) if need == Background else probe.value(need)
            for need in self.method.needs
        ]
        check_places(self.method, self.feature, self.catalog.input, values)
        if times:
            count = self.method.cost.count(self.settings, channels(self.method, values))
            steps.total = None if count is None else count * times
        settings = {k: v for k, v in self.settings.items() if k != AUGMENT.name}
        if not self.method.anytime:
            return self.method.estimate(*values, **settings), probe
        with stoppable(limit):
            return self.method.estimate(*values, **settings), probe
