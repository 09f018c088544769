"""Many inputs through one explainer, from the shell: names of files, progress, failures."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from onnxcam.cli.group import spoken
from onnxcam.cli.options import arrays, say
from onnxcam.cli.places import Places, Wanted
from onnxcam.cli.wanted import declared, wanted
from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.explain import Explainer
from onnxcam.output.explanation import Explanation
from onnxcam.targets import Target, resolved

if TYPE_CHECKING:
    from rich.progress import Progress

_Files: TypeAlias = "tuple[Path, Path | None]"  # the result's, the raw map's


@dataclass(frozen=True)
class Job:
    """What `onnxcam explain` was asked for; see its ``--help``."""

    model: Path
    inputs: tuple[Path, ...]
    output: Path | None
    methods: tuple[str, ...]
    targets: tuple[str, ...]
    quantity: str
    against: str | None
    boxes: tuple[str, ...]
    places: tuple[int, ...]
    similar_to: Path | None
    over: float | None
    feature_layers: tuple[str, ...]
    fuse: Any
    reduction_layer: str | None
    class_axis: int | None
    input: str | None
    feeds: tuple[str, ...]
    input_format: str | None
    feature_format: str | None
    upsampling: Any
    device: Any
    preprocess: str | None
    labels: Path | None
    op_library: tuple[Path, ...]
    detector: tuple[str, ...]
    colormap: str | None
    alpha: float | None
    save_map: Path | None
    cache: bool
    seed: int
    budget: int | None
    parameters: Mapping[str, Any]
    as_json: bool

    @property
    def style(self) -> dict[str, Any]:
        """Options of the figure that were given."""
        given = {"colormap": self.colormap, "alpha": self.alpha}
        return {k: v for k, v in given.items() if v is not None}

    @property
    def wanted(self) -> Wanted:
        """Where the results go, and what is never written to."""
        given = [self.model, self.model.with_suffix(".toml"), *self.inputs]
        given += [Path(p) for p in (self.labels, self.preprocess) if p is not None]
        layers = self.feature_layers if self.fuse is None else ()
        lists = (self.inputs, self.targets, self.methods, layers, self.boxes)
        single = all(len(each) <= 1 for each in lists) and self.quantity != "detections"
        return Wanted(self.output, self.save_map, single, tuple(given))


@dataclass
class Outcome:
    """What came of a job."""

    explanations: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    recipes: set[str] = field(default_factory=set, repr=False)
    empty: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether any input could not be explained."""
        return bool(self.errors)

    def tell(self, recipe: str) -> None:
        """Print how pictures become the input, once."""
        if recipe and recipe not in self.recipes:
            self.recipes.add(recipe)
            say(f"input: {recipe}")

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        found = {"explanations": self.explanations, "errors": self.errors}
        return {**found, **({"without_detection": self.empty} if self.empty else {})}


def run(job: Job) -> Outcome:
    """Explain every input; one that fails is reported and skipped."""
    job.wanted.check()
    given = (job.boxes, job.places, job.similar_to, job.over)
    targets = wanted(job.targets, job.quantity, job.against, *given)
    outcome = Outcome()
    with _progress(job) as bar:
        explainer = _explainer(job, bar)
        if not job.as_json:
            say(_heading(explainer, targets[0]))
        places = _places(job, explainer, targets)
        results = explainer.stream(job.inputs, targets, extra_inputs=arrays(job.feeds))
        for k, (path, result) in enumerate(results):
            try:
                if isinstance(result, OnnxcamError):
                    raise result
                many = targets[0].many
                for number, rows in _inputs(result, many):
                    if many and not any(rows):
                        outcome.empty.append(str(path))
                        _say_empty(job, path, targets[0])
                    for t, maps in _each(rows):
                        named = maps if isinstance(maps, dict) else {places.first: maps}
                        for name, explanation in named.items():
                            row = explanation.detection.row if many else None
                            files = places.of(k, name, t, number, row)
                            if not job.as_json:
                                outcome.tell(explanation.preprocessing)
                            made = _finish(job, Path(path), explanation, files)
                            outcome.explanations.append(made)
            except UsageError:
                raise
            except OnnxcamError as error:
                said = spoken(error)
                outcome.errors.append({"input": str(path), "error": said})
                say(f"onnxcam: {said}", err=True)
            bar.advance()
    return outcome


def _explainer(job: Job, bar: _Bar) -> Explainer[Any]:
    return Explainer(
        job.model,
        job.methods or None,
        feature_layer=job.feature_layers or None,
        fuse=job.fuse,
        reduction_layer=job.reduction_layer,
        class_axis=job.class_axis,
        input=job.input,
        input_format=job.input_format,
        feature_format=job.feature_format,
        device=job.device,
        preprocess=job.preprocess,
        labels=job.labels,
        detector=declared(job.detector),
        upsampling=job.upsampling,
        parameters=job.parameters,
        seed=job.seed,
        budget=job.budget,
        progress=bar.run,
        cache=job.cache,
        op_library=job.op_library,
    )


def _heading(explainer: Explainer[Any], target: Target) -> str:
    what = ", ".join(planned.summary for planned in explainer.maps_of(target))
    plain = explainer.gradient in ("exact", "not used")
    gradient = "" if plain else f", gradient {explainer.gradient},"
    return f"{what}{gradient} on {explainer.provider.name} ({explainer.provider.why})"


def _inputs(result: list[Any], many: bool) -> list[tuple[int | None, list[Any]]]:
    """Return the maps of each target by input; an array may hold several of these."""
    inner = result[0] if result and many else result
    if inner and isinstance(inner, list) and isinstance(inner[0], list):
        return list(enumerate(result, 1))
    return [(None, result)]


def _each(rows: list[Any]) -> Iterator[tuple[int, Any]]:
    """Yield the number of each target with its maps, once for each finding that it stands for."""
    for t, maps in enumerate(rows):
        for one in maps if isinstance(maps, list) else [maps]:
            yield t, one


def _say_empty(job: Job, path: Path, target: Target) -> None:
    if not job.as_json:
        say(f"{path}: no detection ({target.quantity})")


def _finish(job: Job, path: Path, explanation: Explanation, files: _Files) -> dict[str, Any]:
    """Write what is explained; return what `--json` prints of it."""
    place, map_place = files
    if place.suffix == ".png":
        from onnxcam.output.render import save_png

        save_png(explanation.figure(**job.style), place)
    else:
        explanation.save(place)
    if map_place is not None:
        explanation.save(map_place)
    if not job.as_json:
        words = "; ".join(explanation.diagnosis)
        warning = f"  (warning: {words})" if words else ""
        say(f"{path}: {explanation.title} -> {place}{warning}")
    written = [str(each) for each in files if each is not None]
    return {**explanation.as_dict(), "input": str(path), "files": written}


def _places(job: Job, explainer: Explainer[Any], targets: Sequence[Target]) -> Places:
    """Settle the names of all results."""
    classes: list[int] = []
    if len(targets) > 1:
        said = explainer.description.labels if any(t.names_labels for t in targets) else None
        classes = [index for _, index in resolved(targets, explainer.catalog.reduction, said)]
    maps = [m.name or m.method.name for m in explainer.maps_of(targets[0])]
    return Places(job.wanted, job.inputs, maps, classes)


class _Bar:
    """What a progress bar shows: the inputs, and the runs of the one that is explained.

    Args:
        bar: rich's; None where nobody looks.
        inputs: How many there are.
    """

    def __init__(self, bar: Progress | None, inputs: int) -> None:
        self._bar = bar
        self._inputs = bar.add_task("explaining", total=inputs) if bar and inputs > 1 else None
        self._runs: Any = None

    def advance(self) -> None:
        """Tell that an input is done."""
        if self._bar and self._inputs is not None:
            self._bar.advance(self._inputs)

    def run(self, done: int, total: int | None) -> None:
        """Tell how often the model was run for an input."""
        if not self._bar:
            return
        if self._runs is None:
            self._runs = self._bar.add_task("running", total=total)
        shown = done if total is None else min(done, total)  # a few runs are not the method's
        self._bar.update(self._runs, completed=shown, total=total)


@contextmanager
def _progress(job: Job) -> Iterator[_Bar]:
    """A progress bar where there is someone to look at it."""
    # As rich asks, which is not imported where nobody looks.
    if not sys.stderr.isatty() and not {"FORCE_COLOR", "TTY_COMPATIBLE"} & os.environ.keys():
        yield _Bar(None, len(job.inputs))
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar, len(job.inputs))
