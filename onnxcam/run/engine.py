"""All maps of an explainer: the graph methods in one session, the others beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np

from onnxcam.analysis.layers import Catalog, Reduction
from onnxcam.compose import MapPlan, Plan, Wishes
from onnxcam.errors import UsageError
from onnxcam.inputs import Prepared
from onnxcam.methods import SampledMethod
from onnxcam.methods.needs import Similarity
from onnxcam.model.model import Model
from onnxcam.names import DIAGNOSTIC, RELIEF
from onnxcam.output.explanation import Explanation
from onnxcam.run.progress import Progress
from onnxcam.run.runner import Runner, Upsampling
from onnxcam.run.sampling import Sampler
from onnxcam.run.session import Device
from onnxcam.run.store import Store
from onnxcam.targets import Score, Target

if TYPE_CHECKING:
    from onnxcam.analysis.detectors import Detector
    from onnxcam.run.detections import Finder

Array: TypeAlias = np.ndarray[Any, Any]
Maps: TypeAlias = dict[str, Explanation]
_EXPOSED = frozenset((*DIAGNOSTIC, RELIEF))


@dataclass(frozen=True, eq=False)
class Engine:
    """Explains prepared inputs of one model by all maps, for targets of any kind.

    Attributes:
        model: The model.
        catalog: Its layers.
        wishes: The maps that are wanted.
        upsampling: How they come to the input's size.
        device: Where to run.
        threads: Threads of ONNX Runtime; None lets it decide.
        store: Where compiled models are kept; None for nowhere.
        seed: Of the random numbers that methods draw.
        batch_size: The most inputs in one run of a method that runs the model many times.
        progress: What is told of such runs.
        budget: The most runs for one input, behind which the map so far is taken; None for any.
        declared: Returns what a caller says of the detector, None for nothing.
    """

    model: Model
    catalog: Catalog
    wishes: Wishes
    upsampling: Upsampling
    device: Device
    threads: int | None
    store: Store | None
    seed: int
    batch_size: int
    progress: Progress | None
    budget: int | None = None
    declared: Callable[[], Mapping[str, Any] | None] | None = None
    _made: dict[Target, list[Runner | Sampler]] = field(default_factory=dict, repr=False)
    _lock: RLock = field(default_factory=RLock, init=False, repr=False)

    @cached_property
    def maps(self) -> tuple[MapPlan, ...]:
        """The maps of a class."""
        scales = self.wishes.fuse is not None and self.wishes.feature_layer is None
        return self.wishes.maps(self.catalog, self.detector if scales else None)

    @cached_property
    def _of_boxes(self) -> tuple[MapPlan, ...]:
        return self.wishes.of_boxes(self.catalog, self.detector)

    @property
    def together(self) -> bool:
        """Whether inputs may share a run."""
        return all(m.method.kind == "graph" for m in self.shown)

    def __post_init__(self) -> None:
        """Check what is not checked elsewhere.

        Raises:
            UsageError: There is no such upsampling.
        """
        if self.upsampling not in get_args(Upsampling):
            raise UsageError(
                f"no upsampling {self.upsampling!r}", "choose bicubic, nearest or none"
            )

    @cached_property
    def detector(self) -> Detector | None:
        """Where the model says what it finds; None where it is no detector."""
        from onnxcam.analysis.detectors import detector

        said = None if self.declared is None else self.declared()
        return detector(self.model, self.catalog, said)

    @cached_property
    def finder(self) -> Finder | None:
        """What runs the detector before its boxes are explained."""
        from onnxcam.run.detections import Finder

        found = self.detector
        how = (self.device, self.threads)
        return None if found is None else Finder(self.model, self.catalog, found, *how)

    @property
    def _settled(self) -> str:
        """The doubt about the scores that a declared last function settles; "" for none."""
        said = None if self.declared is None else self.declared()
        return self.catalog.reduction.note if said and "final" in said else ""

    def reduction_of(self, target: Target) -> Reduction:
        """Return the scores that a target speaks of: of a box the classes of the detector."""
        found = self.detector if target.placed else None
        if found is None or found.single:
            return self.catalog.reduction
        return replace(self.catalog.reduction, classes=found.classes, labels=())

    def maps_of(self, target: Target) -> tuple[MapPlan, ...]:
        """Return the maps that a target is explained by."""
        return self._of_boxes if target.placed else self.maps

    def of(self, target: Target) -> list[Runner | Sampler]:
        """Return what explains a target of any class; it is made once.

        Raises:
            OnnxcamError: Of the kind that fits: what it is cannot be explained.
        """
        with self._lock:  # threads that ask for it at once get one
            if target not in self._made:
                self._made[target] = [*self._runner(target), *self._samplers(target)]
            return self._made[target]

    @cached_property
    def only_boxes(self) -> bool:
        """Whether the named layer lies before another head than the first: of boxes alone.

        Raises:
            OnnxcamError: It lies before none.
        """
        try:
            return not self.maps
        except UsageError:
            if self.wishes.feature_layer is None or self.detector is None:
                raise
            if not all(map(self.detector.leads, (m.feature for m in self._of_boxes))):
                raise
            return True

    @property
    def shown(self) -> tuple[MapPlan, ...]:
        """The maps of a class, or of a box where no class has them."""
        return self._of_boxes if self.only_boxes else self.maps

    def check(self) -> None:
        """Say what cannot be explained.

        Raises:
            OnnxcamError: Of the kind that fits.
        """
        if not self.only_boxes:
            self.of(Score())

    def _runner(self, target: Target) -> Iterator[Runner]:
        maps = tuple(m for m in self.maps_of(target) if m.method.kind == "graph")
        if maps:
            detector = self.detector if target.placed else None
            plan = Plan(
                self.catalog, maps, target, targets=None, expose=_EXPOSED, each=True,
                detector=detector,
            )  # fmt: skip
            how = (self.upsampling, self.device, self.threads)
            runner = Runner(self.model, plan, *how, self.store)
            runner.session  # noqa: B018 - it is made, or says what is wrong
            yield runner

    def _samplers(self, target: Target) -> Iterator[Sampler]:
        for m in self.maps_of(target):
            if isinstance(m.method, SampledMethod):
                how = (self.upsampling, self.device, self.threads, m.settings, self.seed)
                name = m.name or m.method.name
                sampler = Sampler(
                    self.model, self.catalog, m.method, m.feature, *how,
                    self.batch_size, self.progress, name, target, self.budget,
                    self.detector if target.placed else None,
                    self.finder if target.placed or Similarity in m.method.needs else None,
                )  # fmt: skip
                sampler.provider, sampler.gradient  # noqa: B018 - made, or says what is wrong
                yield sampler

    def run(
        self,
        batch: Sequence[Prepared],
        targets: Sequence[Sequence[tuple[Target, int]]],
        labels: tuple[str, ...] | None,
    ) -> list[list[Any]]:
        """Explain inputs of one shape; targets of one kind share a run.

        Args:
            batch: The inputs, each with a batch axis of 1.
            targets: Of every input its targets without their class, and the index of that; -1 for
                the top class.
            labels: Names of the classes, None where nothing says them.

        Returns:
            For every input and target the explanations by the names of the maps, in their order;
            for a target that stands for many a list of these.
        """
        found: list[list[Any]] = [[None for _ in row] for row in targets]
        for kind in dict.fromkeys(target for row in targets for target, _ in row):
            places = [[k for k, (target, _) in enumerate(row) if target == kind] for row in targets]
            asked = [n for n, own in enumerate(places) if own]
            indices = [[targets[n][k][1] for k in places[n]] for n in asked]
            rows = self._of_kind([batch[n] for n in asked], kind, indices, labels)
            for i, n in enumerate(asked):
                for j, k in enumerate(places[n]):
                    found[n][k] = rows[i][j]
        return found

    def _of_kind(
        self,
        batch: Sequence[Prepared],
        kind: Target,
        indices: Sequence[Sequence[int]],
        labels: tuple[str, ...] | None,
    ) -> list[list[Any]]:
        """Explain targets of one kind, some of each input; boxes are looked for first."""
        if not kind.placed or self.finder is None:
            return self._together(batch, kind, indices, labels)
        from onnxcam.run.placed import chosen, compiled, doubts, told

        findings = self.finder.findings(batch, labels)
        asked = [
            [chosen(kind, i, each) for i in row]
            for row, each in zip(indices, findings, strict=True)
        ]
        fed = [[index for one in each for index, _ in one] for each in asked]
        some = [n for n, each in enumerate(fed) if each]
        alone = not self.finder.detector.heads
        groups = [[n] for n in some] if self.finder.detector.alone else [some] if some else []
        rows: dict[int, list[Maps]] = {}
        for group in groups:
            own = [batch[n] for n in group], compiled(kind, alone), [fed[n] for n in group]
            rows.update(zip(group, self._together(*own, labels), strict=True))
        out: list[list[Any]] = []
        for n, each in enumerate(asked):
            made = iter(rows.get(n, ()))
            shown = [
                [told(next(made), d, doubts(kind, d), self._settled) for _, d in one]
                for one in each
            ]
            out.append([one if kind.many else one[0] for one in shown])
        return out

    def _together(
        self,
        batch: Sequence[Prepared],
        kind: Target,
        indices: Sequence[Sequence[int]],
        labels: tuple[str, ...] | None,
    ) -> list[list[Maps]]:
        """Explain targets of one kind in one run."""
        order = [m.name or m.method.name for m in self.maps_of(kind)]
        parts = [each.run(batch, indices, labels) for each in self.of(kind)]
        found: list[list[Maps]] = []
        for n, row in enumerate(indices):
            each = [{k: e for part in parts for k, e in part[n][i].items()}
                    for i in range(len(row))]  # fmt: skip
            found.append([{name: maps[name] for name in order} for maps in each])
        return found
