"""Many inputs through one explainer, from the shell: names of files, progress, failures."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxcam.cli.group import spoken
from onnxcam.cli.options import arrays, say, wanted
from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.explain import Explainer
from onnxcam.output.explanation import Explanation

if TYPE_CHECKING:
    from rich.progress import Progress


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
    boxes: tuple[int, ...]
    feature_layers: tuple[str, ...]
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
    colormap: str | None
    alpha: float | None
    save_map: Path | None
    cache: bool
    seed: int
    parameters: Mapping[str, Any]
    as_json: bool

    @property
    def style(self) -> dict[str, Any]:
        """Options of the figure that were given."""
        given = {"colormap": self.colormap, "alpha": self.alpha}
        return {k: v for k, v in given.items() if v is not None}


@dataclass
class Outcome:
    """What came of a job."""

    explanations: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether any input could not be explained."""
        return bool(self.errors)

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {"explanations": self.explanations, "errors": self.errors}


def run(job: Job) -> Outcome:
    """Explain every input; one that fails is reported and skipped."""
    _check_places(job)
    targets = wanted(job.targets, job.quantity, job.against, job.boxes)
    outcome = Outcome()
    with _progress(job) as bar:
        explainer = _explainer(job, bar)
        if not job.as_json:
            say(_heading(explainer))
        for path, result in explainer.stream(job.inputs, targets, extra_inputs=arrays(job.feeds)):
            try:
                if isinstance(result, OnnxcamError):
                    raise result
                for number, rows in _inputs(result):
                    for name, explanation in (item for maps in rows for item in maps.items()):
                        _finish(job, _Name(Path(path), name, number), explanation, outcome)
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
        job.methods,
        feature_layer=job.feature_layers or None,
        reduction_layer=job.reduction_layer,
        class_axis=job.class_axis,
        input=job.input,
        input_format=job.input_format,
        feature_format=job.feature_format,
        device=job.device,
        preprocess=job.preprocess,
        labels=job.labels,
        upsampling=job.upsampling,
        parameters=job.parameters,
        seed=job.seed,
        progress=bar.run,
        cache=job.cache,
    )


def _heading(explainer: Explainer[Any]) -> str:
    what = ", ".join(planned.summary for planned in explainer.maps)
    plain = explainer.gradient in ("exact", "not used")
    gradient = "" if plain else f", gradient {explainer.gradient},"
    return f"{what}{gradient} on {explainer.provider.name} ({explainer.provider.why})"


@dataclass(frozen=True)
class _Name:
    """Which explanation a file is of.

    Attributes:
        path: The input.
        map: Name of the map.
        number: Of the input in an array of several, from 1; None where there is one.
    """

    path: Path
    map: str
    number: int | None = None


def _inputs(result: list[Any]) -> list[tuple[int | None, list[Any]]]:
    """Return the maps of each target by input; an array may hold several of these."""
    if result and isinstance(result[0], list):
        return list(enumerate(result, 1))
    return [(None, result)]


def _finish(job: Job, name: _Name, explanation: Explanation, outcome: Outcome) -> None:
    written = []
    place = _place(job, name, explanation)
    if place.suffix == ".png":
        from onnxcam.output.render import save_png

        save_png(explanation.figure(**job.style), place)
    else:
        explanation.save(place)
    written.append(place)
    if job.save_map is not None:
        map_place = _map_place(job, name, explanation)
        explanation.save(map_place)
        written.append(map_place)
    outcome.explanations.append(
        {**explanation.as_dict(), "input": str(name.path), "files": [str(w) for w in written]}
    )
    if not job.as_json:
        words = "; ".join(explanation.diagnosis)
        warning = f"  (warning: {words})" if words else ""
        say(f"{name.path}: {explanation.title} -> {place}{warning}")


def _check_places(job: Job) -> None:
    """Find out before the work whether the results can be written."""
    for place, what in ((job.output, "-o"), (job.save_map, "--save-map")):
        if place is None:
            continue
        if _single(job) and place.suffix:
            folder = place.parent
        else:
            if place.suffix in (".png", ".npz", ".json"):
                raise UsageError(
                    f"{what} {place}: one file for several explanations", "give a folder"
                )
            folder = place
            _make(folder)
        if place.resolve() in {given.resolve() for given in (job.model, *job.inputs)}:
            raise UsageError(f"{what} {place}: is what was given to explain", "name another file")
        if not folder.is_dir():
            raise OnnxcamError(f"{folder}: no such folder", "create it first")
        if not _writable(folder):
            raise OnnxcamError(f"{folder}: cannot be written", "choose another folder")
    if job.save_map is not None and _single(job) and job.save_map.suffix not in (".npz", ""):
        raise UsageError(f"--save-map {job.save_map}: the map is an .npz file", "end it in .npz")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OnnxcamError(
            f"{folder}: cannot be created ({error.strerror})", "choose another folder"
        ) from None


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK)


def _single(job: Job) -> bool:
    """Tell whether one explanation is asked for, which may have the name of a file."""
    lists = (job.inputs, job.targets, job.methods, job.feature_layers)
    return all(len(each) <= 1 for each in lists)


def _place(job: Job, name: _Name, explanation: Explanation) -> Path:
    if job.output is not None and job.output.suffix and _single(job):
        return _of_one(job.output, name)
    return (job.output or Path()) / f"{_stem(job, name, explanation)}.png"


def _map_place(job: Job, name: _Name, explanation: Explanation) -> Path:
    assert job.save_map is not None
    if job.save_map.suffix and _single(job):
        return _of_one(job.save_map, name)
    return job.save_map / f"{_stem(job, name, explanation)}.npz"


def _of_one(place: Path, name: _Name) -> Path:
    """Return the file of the only explanation."""
    if name.number is not None:
        raise UsageError(
            f"{name.path} holds several inputs, and {place} is one file", "name a folder"
        )
    return place


def _stem(job: Job, name: _Name, explanation: Explanation) -> str:
    """Name a result by its input; two inputs of one name in different folders stay apart."""
    twins = [p for p in job.inputs if p.stem == name.path.stem]
    stem = name.path.stem
    if len(twins) > 1:
        stem = f"{stem}-{twins.index(name.path) + 1}"
    if name.number is not None:
        stem = f"{stem}-{name.number}"
    suffix = f".{explanation.target}" if len(job.targets) > 1 else ""
    map = re.sub(r"[^\w.+-]+", "-", name.map)  # a layer has slashes
    return f"{stem}.{map}{suffix}"


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
