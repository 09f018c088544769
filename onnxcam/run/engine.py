"""All maps of an explainer: the graph methods in one session, the others beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Catalog
from onnxcam.compose import MapPlan, Plan
from onnxcam.inputs import Prepared
from onnxcam.methods import SampledMethod
from onnxcam.model.model import Model
from onnxcam.names import DIAGNOSTIC
from onnxcam.output.explanation import Explanation
from onnxcam.run.progress import Progress
from onnxcam.run.runner import Runner, Upsampling
from onnxcam.run.sampling import Sampler
from onnxcam.run.session import Device
from onnxcam.run.store import Store
from onnxcam.targets import Target

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Engine:
    """Explains prepared inputs of one model by all maps, for targets of any kind.

    Attributes:
        model: The model.
        catalog: Its layers.
        maps: The maps.
        upsampling: How they come to the input's size.
        device: Where to run.
        threads: Threads of ONNX Runtime; None lets it decide.
        store: Where compiled models are kept; None for nowhere.
        seed: Of the random numbers that methods draw.
        batch_size: The most inputs in one run of a method that runs the model many times.
        progress: What is told of such runs.
        budget: The most runs for one input, behind which the map so far is taken; None for any.
    """

    model: Model
    catalog: Catalog
    maps: tuple[MapPlan, ...]
    upsampling: Upsampling
    device: Device
    threads: int | None
    store: Store | None
    seed: int
    batch_size: int
    progress: Progress | None
    budget: int | None = None
    _made: dict[Target, list[Runner | Sampler]] = field(default_factory=dict, repr=False)

    @property
    def together(self) -> bool:
        """Whether inputs may share a run."""
        return all(m.method.kind == "graph" for m in self.maps)

    def of(self, target: Target) -> list[Runner | Sampler]:
        """Return what explains a target of any class; it is made once.

        Raises:
            OnnxcamError: Of the kind that fits: what it is cannot be explained.
        """
        if target not in self._made:
            self._made[target] = [*self._runner(target), *self._samplers(target)]
        return self._made[target]

    def _runner(self, target: Target) -> Iterator[Runner]:
        maps = tuple(m for m in self.maps if m.method.kind == "graph")
        if maps:
            shown = frozenset(DIAGNOSTIC)
            plan = Plan(self.catalog, maps, target, targets=None, expose=shown, each=True)
            how = (self.upsampling, self.device, self.threads)
            runner = Runner(self.model, plan, *how, self.store)
            runner.session  # noqa: B018 - it is made, or says what is wrong
            yield runner

    def _samplers(self, target: Target) -> Iterator[Sampler]:
        for m in self.maps:
            if isinstance(m.method, SampledMethod):
                how = (self.upsampling, self.device, self.threads, m.settings, self.seed)
                name = m.name or m.method.name
                sampler = Sampler(
                    self.model, self.catalog, m.method, m.feature, *how,
                    self.batch_size, self.progress, name, target, self.budget,
                )  # fmt: skip
                sampler.provider, sampler.gradient  # noqa: B018 - made, or says what is wrong
                yield sampler

    def run(
        self,
        batch: Sequence[Prepared],
        targets: Sequence[Sequence[tuple[Target, int]]],
        labels: tuple[str, ...] | None,
    ) -> list[list[dict[str, Explanation]]]:
        """Explain inputs of one shape; targets of one kind share a run.

        Args:
            batch: The inputs, each with a batch axis of 1.
            targets: Of every input its targets without their class, and the index of that; -1 for
                the top class.
            labels: Names of the classes, None where nothing says them.

        Returns:
            For every input and target the explanations by the names of the maps, in their order.
        """
        order = [m.name or m.method.name for m in self.maps]
        found: list[list[dict[str, Explanation]]] = [[{} for _ in row] for row in targets]
        for kind in dict.fromkeys(target for row in targets for target, _ in row):
            places = [[k for k, (target, _) in enumerate(row) if target == kind] for row in targets]
            asked = [n for n, own in enumerate(places) if own]
            classes = [[targets[n][k][1] for k in places[n]] for n in asked]
            some = [batch[n] for n in asked]
            parts = [each.run(some, classes, labels) for each in self.of(kind)]
            for i, n in enumerate(asked):
                for j, k in enumerate(places[n]):
                    maps = {name: e for part in parts for name, e in part[i][j].items()}
                    found[n][k] = {name: maps[name] for name in order}
        return found
