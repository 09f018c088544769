"""Prepared inputs through methods that run a model many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Candidate, Catalog
from onnxcam.compose.parts import Parts, parts
from onnxcam.errors import InputError, UsageError
from onnxcam.inputs import Prepared
from onnxcam.methods import SampledMethod
from onnxcam.methods.needs import Activation, Background, Input, Layer, Need
from onnxcam.methods.parameters import Setting
from onnxcam.methods.registry import Estimate
from onnxcam.model.model import Model
from onnxcam.names import SCORE, VALUE
from onnxcam.output.explanation import Explanation
from onnxcam.run.background import background
from onnxcam.run.feeds import Feeds
from onnxcam.run.groups import batch_of
from onnxcam.run.hardware import Provider
from onnxcam.run.interrupt import Limit, stoppable
from onnxcam.run.order import one_input
from onnxcam.run.probe import Engine, Probe
from onnxcam.run.progress import Progress, Steps
from onnxcam.run.results import Finding, Origin, explanation
from onnxcam.run.runner import Upsampling
from onnxcam.run.scores import diagnose
from onnxcam.run.session import Device, Session
from onnxcam.targets import TOP, Score, Target, resolve_target

if TYPE_CHECKING:
    from onnxcam.analysis.detectors import Detector

Array: TypeAlias = np.ndarray[Any, Any]
_NOISY = 0.25  # a standard error of this part of the map's range


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

    def __post_init__(self) -> None:
        """Refuse what the method cannot have.

        Raises:
            UsageError: It cannot end early, and has a budget; or the box is another one in every
                input that it runs.
        """
        rows = None if self.detector is None else self.detector.rows
        if rows is not None and not self.target.of_class:
            raise UsageError(
                f"{self.method.name} runs the model on many inputs, and behind its suppression of "
                "boxes a row is another box in each",
                "explain the best detection of a class, or use `method='hirescam'`",
            )
        if self.budget is not None and not self.method.anytime:
            raise UsageError(
                f"{self.method.name} has no map before its last run: it takes no budget",
                "set its parameters, see `onnxcam methods`",
            )

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
        return parts(*whole, self.detector)

    def _session(self, model: Model) -> Session:
        return Session(model, device=self.device, threads=self.threads)

    @cached_property
    def _engine(self) -> Engine:
        """The sessions, made when they are first used."""
        port = next(p for p in self.model.inputs if p.name == self.catalog.input)
        tail, batch = self._parts.head, batch_of(self.model, self.catalog)
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
        )

    def run(
        self,
        batch: Sequence[Prepared],
        targets: Sequence[Sequence[int]],
        labels: tuple[str, ...] | None,
    ) -> list[list[dict[str, Explanation]]]:
        """Explain inputs, one after another.

        Args:
            batch: The inputs, each with a batch axis of 1.
            targets: Class indices of each; -1 is the top class.
            labels: Names of the classes, None where nothing says them.

        Returns:
            For every input and target the explanation, by the name of the map.

        Raises:
            InputError: An input is missing, or ONNX Runtime fails.
            ModelError: The model mixes its inputs up.
            UsageError: There is no such class, or the model is not one for this method.
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
        made = []
        for k, target in enumerate(probe.classes):
            error = None if estimate.error is None else estimate.error[k].astype(np.float32)
            doubts = (
                *diagnose(raw[k], signed[k], probe.scores, probe.steepest[k]),
                *filter(None, estimate.doubts[k : k + 1]),
                *_noise(signed[k], error),
                *self._misplaced,
            )
            facts: dict[str, Any] = {n: float(found[k]) for n, found in estimate.facts.items()}
            if limit.reached:
                facts["stopped"] = limit.reached
                doubts = (f"{limit.reached}: this is the map so far", *doubts)
            said = {**self.settings, **({"seed": self.seed} if self.method.stochastic else {})}
            relief = None if estimate.relief is None else estimate.relief[k].astype(np.float32)
            finding = Finding(
                raw[k], signed[k], probe.scores, target if self.target.of_class else TOP, doubts,
                {**said, **facts, **zeros}, error, self.target.described(labels, target),
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
        steps, limit = Steps(self.progress), limit or Limit(self.budget)
        probe = Probe(
            self._engine,
            one_input(tensor, self.catalog.input_layout),
            others,
            targets,
            np.random.default_rng(self.seed),
            steps.add,
            limit,
        )
        for target in targets if self.target.of_class else ():
            resolve_target(target, len(probe.scores), None)
        file, axis = str(self.settings.get("background", "")), self._engine.batch.axis
        values = [
            background(file, probe, tensor, axis) if need == Background else probe.value(need)
            for need in self.method.needs
        ]
        self._check_ranks(dict(zip(self.method.needs, values, strict=True)))
        steps.total = self.method.cost.count(self.settings, _channels(self.method, values))
        if not self.method.anytime:
            return self.method.estimate(*values, **self.settings), probe
        with stoppable(limit):
            return self.method.estimate(*values, **self.settings), probe

    @property
    def _misplaced(self) -> tuple[str, ...]:
        """Return a warning where a layer that saw part of the input hides all of it."""
        hides = Input in self.method.needs and Activation in self.method.needs
        if not hides or self.feature.area is None:
            return ()
        return ("the layer lies on a part of the input, and its channels hid all of it evenly",)

    def _check_ranks(self, values: Mapping[Need, Any]) -> None:
        """Refuse to lay a feature layer over an input of another rank."""
        if Input not in values or Activation not in values or self.method.kind == "repeated":
            return
        ranks = values[Activation].ndim - 1, values[Input].ndim - 1
        if ranks[0] != ranks[1]:
            raise UsageError(
                f"{self.feature.name!r} has {ranks[0]} axes of space and cannot be laid over the "
                f"input {self.catalog.input!r}, which has {ranks[1]}",
                "choose another feature layer, or a method that does not hide the input",
            )


def _channels(method: SampledMethod, values: Sequence[Any]) -> int | None:
    """Return how many channels the feature layer has, where the method needs it."""
    for need, value in zip(method.needs, values, strict=True):
        if need in (Activation, Layer):
            return len(value)
    return None


def _noise(signed: Array, error: Array | None) -> tuple[str, ...]:
    """Return a warning, in words, where a map is hardly more than noise."""
    if error is None or not np.isfinite(error).all():
        return ()
    typical, span = float(np.sqrt(np.mean(error**2))), float(signed.max() - signed.min())
    if typical <= _NOISY * span:
        return ()
    return (f"noisy: the standard error is {typical:.2g}, the map's range {span:.2g}; sample more",)
