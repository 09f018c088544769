"""Many inputs through one explainer, from the shell: names of files, progress, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from onnxcam.cli.bar import Bar, progress
from onnxcam.cli.group import spoken
from onnxcam.cli.job import Job, Outcome
from onnxcam.cli.options import arrays, say
from onnxcam.cli.places import Places
from onnxcam.cli.sources import Source
from onnxcam.cli.wanted import declared, wanted
from onnxcam.cli.writing import Desk, Files, desk
from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.explain import Explainer
from onnxcam.output.explanation import Explanation
from onnxcam.targets import Target, resolved


def run(job: Job) -> Outcome:
    """Explain every input; one that fails is reported and skipped."""
    job.wanted.check()
    given = (job.boxes, job.places, job.similar_to, job.over)
    targets = wanted(job.targets, job.quantity, job.against, *given)
    if job.beside and not job.wanted.together:
        raise UsageError("--beside: several models go into one figure", "name its file with -o")
    outcome, kept = Outcome(), list[_Kept]()
    count = len(job.inputs)
    with progress(count * len(job.models)) as bar, desk(count) as work:
        for model in job.models:
            explainer = _explainer(job, model, bar)
            job.say(_heading(explainer, targets[0], model.name if job.beside else ""))
            places = _places(job, explainer, targets)
            report = _Report(job, bar, work, targets[0], places.first, outcome)
            paths = [source.path for source in job.inputs]
            results = explainer.stream(paths, targets, extra_inputs=arrays(job.feeds))
            for k, (_, result) in enumerate(results):
                report.take(job.inputs[k], result, partial(places.of, k))
            work.settle()
            kept += [_Kept(model.stem, e) for e in report.kept]
    _finish(job, outcome, kept)
    return outcome


@dataclass(frozen=True)
class _Kept:
    """An explanation that goes into one file with others."""

    model: str
    explanation: Explanation


class _Report:
    """Takes the results in, has them written and tells of them.

    Args:
        job: What was asked for.
        bar: What shows how far it is.
        work: Where figures are drawn.
        target: The first of the targets.
        only: What the only map of a target without others is called.
        outcome: What came of it.

    Attributes:
        kept: What goes into one file.
    """

    def __init__(
        self, job: Job, bar: Bar, work: Desk, target: Target, only: str, outcome: Outcome
    ) -> None:
        self._job, self._bar, self._work = job, bar, work
        self._target, self._only = target, only
        self.outcome = outcome
        self.kept: list[Explanation] = []

    def take(self, source: Source, result: Any, places: Callable[..., Files]) -> None:
        """Take what came of one input."""
        with self._spoken(source):
            if isinstance(result, OnnxcamError):
                raise result
            for number, rows in _inputs(result, self._target.many):
                found = [
                    (replace(e, source=source.name), places(name, t, number, self._row(e)))
                    for t, maps in _each(rows)
                    for name, e in (maps if isinstance(maps, dict) else {self._only: maps}).items()
                ]
                self._say_first(source, found)
                self._write(source, found)
        self._bar.advance()

    def _row(self, e: Explanation) -> int | None:
        """Return the row of a box, where an input has as many results as boxes."""
        return e.detection.row if self._target.many and e.detection else None

    def _say_first(self, source: Source, found: list[tuple[Explanation, Files]]) -> None:
        """Say how pictures become the input, once; and where a detector found nothing."""
        for e, _ in found:
            if self.outcome.new(e.preprocessing):
                self._job.say(f"input: {e.preprocessing}")
        if not found:
            self.outcome.empty.append(source.name)
            self._job.say(f"{source.name}: no detection ({self._target.quantity})")

    def _write(self, source: Source, found: list[tuple[Explanation, Files]]) -> None:
        job = self._job
        if job.wanted.together or not found:
            self.kept += [e for e, _ in found]
            return
        if job.wanted.panel:
            whole, place = [e for e, _ in found], found[0][1][0]
            work = partial(job.look.write_together, whole, place)
            self._work.add(work, partial(self._tell, source, found))
            return
        for e, files in found:
            self._work.add(
                partial(job.look.write, e, files), partial(self._tell, source, [(e, files)])
            )

    def _tell(
        self, source: Source, found: list[tuple[Explanation, Files]], done: Callable[[], None]
    ) -> None:
        """Tell how a piece of work ended."""
        with self._spoken(source):
            done()
            for e, files in found:
                words = "; ".join(e.diagnosis)
                warning = f"  (warning: {words})" if words else ""
                self._job.say(f"{source.name}: {e.title} -> {files[0]}{warning}")
                written = [str(each) for each in files if each is not None]
                record = {**e.as_dict(), "input": source.name, "files": written}
                self.outcome.explanations.append(record)

    @contextmanager
    def _spoken(self, source: Source) -> Iterator[None]:
        """Report an error that is one input's."""
        try:
            yield
        except UsageError:
            raise
        except OnnxcamError as error:
            said = spoken(error)
            self.outcome.errors.append({"input": source.name, "error": said})
            say(f"onnxcam: {said}", err=True)


def _finish(job: Job, outcome: Outcome, kept: list[_Kept]) -> None:
    """Write what goes into one file: the pictures in their order, of each what every model sees."""
    if not kept:
        return
    assert job.output is not None
    order = {source.name: k for k, source in enumerate(job.inputs)}
    kept = sorted(kept, key=lambda each: order[each.explanation.source])
    together = [each.explanation for each in kept]
    names = [f"{each.model}: {each.explanation.title}" for each in kept] if job.beside else []
    job.look.write_together(together, job.output, names, len(job.models) if job.beside else None)
    for each in kept:
        e = each.explanation
        words = f"  (warning: {'; '.join(e.diagnosis)})" if e.diagnosis else ""
        which = f", {each.model}" if job.beside else ""
        job.say(f"{e.source}: {e.title}, {e.method}{which}{words}")
        record = {**e.as_dict(), "input": e.source, "files": [str(job.output)]}
        outcome.explanations.append(record)
    job.say(f"{len(kept)} maps -> {job.output}")


def _explainer(job: Job, model: Path, bar: Bar) -> Explainer[Any]:
    return Explainer(
        model,
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


def _heading(explainer: Explainer[Any], target: Target, model: str) -> str:
    of = f"{model}: " if model else ""
    what = ", ".join(planned.summary for planned in explainer.maps_of(target))
    plain = explainer.gradient in ("exact", "not used")
    gradient = "" if plain else f", gradient {explainer.gradient},"
    provider = explainer.provider
    why = f" ({provider.why})" if provider.why != "there is no GPU" else ""
    return f"{of}{what}{gradient} on {provider.name}{why}"


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


def _places(job: Job, explainer: Explainer[Any], targets: Sequence[Target]) -> Places:
    """Settle the names of all results."""
    classes: list[int] = []
    if len(targets) > 1:
        said = explainer.description.labels if any(t.names_labels for t in targets) else None
        classes = [index for _, index in resolved(targets, explainer.catalog.reduction, said)]
    maps = [m.name or m.method.name for m in explainer.maps_of(targets[0])]
    return Places(job.wanted, job.inputs, maps, classes)
