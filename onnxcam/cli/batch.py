"""Many inputs through one explainer, from the shell: names of files, progress, failures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxcam.cli import tables as report
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
    method: str
    targets: tuple[str, ...]
    feature_layer: str | None
    reduction_layer: str | None
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
    targets: list[str | None] = [*job.targets] or [None]
    outcome, out = Outcome(), report.console(stderr=job.as_json)
    with _progress(job) as bar:
        explainer = _explainer(job, bar)
        if not job.as_json:
            out.print(_heading(explainer), markup=False, soft_wrap=True)
        for path, result in explainer.stream(job.inputs, targets):
            try:
                if isinstance(result, OnnxcamError):
                    raise result
                for explanation in result:
                    _finish(job, Path(path), explanation, len(targets), outcome, out)
            except UsageError:
                raise
            except OnnxcamError as error:
                outcome.errors.append({"input": str(path), "error": str(error)})
                report.console(stderr=True).print(f"onnxcam: {error}", markup=False, soft_wrap=True)
            bar.advance()
    return outcome


def _explainer(job: Job, bar: _Bar) -> Explainer:
    return Explainer(
        job.model,
        job.method,
        feature_layer=job.feature_layer,
        reduction_layer=job.reduction_layer,
        device=job.device,
        preprocess=job.preprocess,
        labels=job.labels,
        upsampling=job.upsampling,
        parameters=job.parameters,
        seed=job.seed,
        progress=bar.run,
        cache=job.cache,
    )


def _heading(explainer: Explainer) -> str:
    what = f"{explainer.method.name} at {explainer.feature.name}"
    plain = explainer.gradient in ("exact", "not used")
    gradient = "" if plain else f", gradient {explainer.gradient},"
    return f"{what}{gradient} on {explainer.provider.name} ({explainer.provider.why})"


def _finish(
    job: Job, path: Path, explanation: Explanation, targets: int, outcome: Outcome, out: Any
) -> None:
    written = []
    place = _place(job, path, explanation, targets)
    if place.suffix == ".png":
        from onnxcam.output.render import save_png

        save_png(explanation.figure(**job.style), place)
    else:
        explanation.save(place)
    written.append(place)
    if job.save_map is not None:
        map_place = _map_place(job, path, explanation, targets)
        explanation.save(map_place)
        written.append(map_place)
    outcome.explanations.append(
        {**explanation.as_dict(), "input": str(path), "files": [str(w) for w in written]}
    )
    if not job.as_json:
        words = "; ".join(explanation.diagnosis)
        warning = f"  (warning: {words})" if words else ""
        out.print(f"{path}: {explanation.title} -> {place}{warning}", markup=False, soft_wrap=True)


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
    return len(job.inputs) == 1 and len(job.targets) <= 1


def _place(job: Job, path: Path, explanation: Explanation, targets: int) -> Path:
    if job.output is not None and job.output.suffix and _single(job):
        return job.output
    return (job.output or Path()) / f"{_stem(job, path, explanation, targets)}.png"


def _map_place(job: Job, path: Path, explanation: Explanation, targets: int) -> Path:
    assert job.save_map is not None
    if job.save_map.suffix and _single(job):
        return job.save_map
    return job.save_map / f"{_stem(job, path, explanation, targets)}.npz"


def _stem(job: Job, path: Path, explanation: Explanation, targets: int) -> str:
    """Name a result by its input; two inputs of one name in different folders stay apart."""
    twins = [p for p in job.inputs if p.stem == path.stem]
    name = path.stem
    if len(twins) > 1:
        name = f"{name}-{twins.index(path) + 1}"
    suffix = f".{explanation.target}" if targets > 1 else ""
    return f"{name}.{job.method}{suffix}"


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
    from rich.progress import Progress

    out = report.console(stderr=True)
    if not out.is_terminal:
        yield _Bar(None, len(job.inputs))
        return
    with Progress(console=out, transient=True) as bar:
        yield _Bar(bar, len(job.inputs))
