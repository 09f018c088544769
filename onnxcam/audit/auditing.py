"""An audit from end to end: asked, logged, worked off, judged, written down."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from onnxcam import methods as all_methods
from onnxcam.audit import evidence
from onnxcam.audit.data import Listing, Selection, open_data
from onnxcam.audit.extras import needed
from onnxcam.audit.finish import finish
from onnxcam.audit.job import JOB, Explaining, Job, Place, split
from onnxcam.audit.log import RunLog
from onnxcam.audit.policy import Policy, read_policy
from onnxcam.audit.verdict import Verdict
from onnxcam.audit.work.child import SAMPLES
from onnxcam.audit.work.chunks import BATCH
from onnxcam.audit.work.engines import Asked, Engine, Progress, work
from onnxcam.audit.work.faithful import checked
from onnxcam.errors import OnnxcamError, UsageError, bounded
from onnxcam.files import write_whole
from onnxcam.version import __version__

POLICY = "policy.toml"
_LOG = "run.jsonl"
_OF_DATA = ("data_format", "boxes", "masks", "slices", "sample", "seed")


@dataclass(frozen=True)
class Audit:
    """An audit that is done.

    Attributes:
        folder: Where its evidence lies.
        verdict: What it came to.
        counts: How many samples there are of each kind.
    """

    folder: Path
    verdict: Verdict
    counts: Mapping[str, Any]


class Options(Explaining, total=False):
    """The options of an audit that say what of the data is taken, and how models are explained.

    Attributes:
        data_format: The form of the data; None finds it.
        boxes: COCO's JSON or a folder of VOC's XML with the objects of the samples.
        masks: A folder of masks.
        slices: Columns of the data that make groups.
        sample: How many samples are drawn; None takes all.
        seed: Of that draw, and of methods with random numbers.
    """

    data_format: str | None
    boxes: Place | None
    masks: Place | None
    slices: Sequence[str]
    sample: int | None
    seed: int


@bounded("the audit fails")
def run(
    model: Place,
    data: Place,
    output: Place,
    *,
    baseline: Place | None = None,
    method: str | Sequence[str] = "gradcam",
    metrics: Sequence[str] = (),
    policy: Place | None = None,
    engine: Engine = "local",
    address: str | None = None,
    workers: int = 2,
    timeout: float = 600,
    resume: bool = False,
    keep_maps: bool = True,
    trust: int = 16,
    progress: Progress = lambda *_: None,
    **options: Unpack[Options],
) -> Audit:
    """Audit a model on a data set, alone or beside another one, and leave the evidence.

    Args:
        model: The model's file.
        data: A folder with one for each class, a list or CSV, COCO's JSON, VOC's folder, a folder
            of pictures and one of masks, .npz, Parquet, or a folder of Hugging Face's.
        output: The folder of the audit. It must not exist, or be empty, unless ``resume``.
        baseline: The model that it is held against: the one in use, or the one before a build.
        method: Name of a method, or names.
        metrics: Names of metrics of faithfulness; each runs the model many times a sample.
        policy: A TOML file, or a ready policy's name; None takes "first-release" for one model
            and "quantised-build" for two.
        engine: "local" (a child process, which may crash), "here" (this process), or "ray".
        address: Of a Ray cluster; None starts one here.
        workers: Of the ray engine.
        timeout: Seconds after which a sample that the runtime hangs on is given up; of both
            engines with child processes.
        resume: Go on with an audit that was interrupted.
        keep_maps: Whether the maps are written.
        trust: Samples that the audit itself is checked on (weights made random, a second method);
            0 leaves that out.
        progress: Told how many samples are done, of how many.
        options: See :class:`Options` and :class:`onnxcam.audit.job.Explaining`.

    Returns:
        The verdict and where everything lies.

    Raises:
        OnnxcamError: Of the kind that fits: something cannot be read, used or written, or the
            audit cannot be resumed as it is asked for.
    """
    needed("pyarrow", "the records of an audit")
    needed("scipy", "the intervals of an audit")
    checked(metrics)
    chosen, listing = _policy(policy, baseline), _listing(Path(data), options)
    files = [str(Path(p).absolute()) for p in (model, baseline) if p is not None]
    said, theirs = split({k: v for k, v in options.items() if k not in _OF_DATA})
    said |= {"seed": options.get("seed", 0), "batch_size": BATCH}
    job = Job(
        tuple(files), _methods(method), tuple(metrics), said, theirs, keep_maps,
        facts=_facts(files, listing, chosen),
    )  # fmt: skip
    with _begun(folder := Path(output), job, listing, chosen, resume) as log:
        work(folder, job, listing.samples, Asked(engine, address, workers, timeout), progress)
        log.add("worked off")
        apart = None if engine == "here" else timeout
        verdict, counts = finish(folder, job, listing, chosen, trust, apart)
    return Audit(folder, verdict, counts)


def _methods(method: str | Sequence[str]) -> tuple[str, ...]:
    names = [method] if isinstance(method, str) else list(dict.fromkeys(method))
    if not names:
        raise UsageError("no method is given", "name one as `method`, such as gradcam")
    return tuple(all_methods.find(name).name for name in names)


def _policy(policy: Place | None, baseline: Place | None) -> Policy:
    default = "first-release" if baseline is None else "quantised-build"
    chosen = read_policy(os.fspath(policy) if policy is not None else default)
    if chosen.needs_baseline and baseline is None:
        raise UsageError(
            f"the policy {chosen.name!r} compares two models", "give the other one as `baseline`"
        )
    return chosen


def _listing(data: Path, options: Options) -> Listing:
    boxes, masks = options.get("boxes"), options.get("masks")
    return open_data(
        data,
        form=options.get("data_format"),
        slices=options.get("slices", ()),
        selection=Selection(options.get("sample"), options.get("seed", 0)),
        boxes=None if boxes is None else Path(boxes),
        masks=None if masks is None else Path(masks),
    )


def _facts(files: Sequence[str], listing: Listing, policy: Policy) -> dict[str, Any]:
    from onnxcam.run.session import runtime

    return {
        "models": [evidence.files_digest(evidence.model_files(Path(f))) for f in files],
        "data": listing.digest,
        "policy": policy.sha256,
        "onnxcam": __version__,
        "onnxruntime": runtime().__version__,
    }


@contextmanager
def _begun(folder: Path, job: Job, listing: Listing, policy: Policy, resume: bool) -> Any:
    """Begin an audit, or go on with it: its folder is this process's until the block ends."""
    there = folder.is_dir() and any(folder.iterdir())
    if there and not resume:
        raise UsageError(
            f"{folder} is not empty", "choose another folder, or go on with `resume=True`"
        )
    if there:
        Job.read(folder / JOB).check_same(job)
    try:
        (folder / "data").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OnnxcamError(
            f"{folder} cannot be made ({error.strerror})", "choose another folder"
        ) from None
    with _held(folder / _LOG):
        log = RunLog(folder)
        if not there:
            write_whole(folder / SAMPLES, listing.samples.lines)
            write_whole(folder / POLICY, policy.text.encode())
            log.add("started", policy=policy.name, policy_sha256=policy.sha256, job=job.facts)
            write_whole(folder / JOB, job.text().encode())  # last: what has it can be resumed
        else:
            log.add("resumed")
        try:
            yield log
        except OnnxcamError:
            if not there and not (folder / "records").is_dir():
                _unmade(folder)  # nothing was done that could be resumed
            raise


def _unmade(folder: Path) -> None:
    """Remove what was written when an audit began."""
    for name in (SAMPLES, POLICY, JOB, _LOG):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # somebody else put something there
        (folder / "data").rmdir()
        folder.rmdir()


@contextmanager
def _held(place: Path) -> Any:
    """Hold a folder against another audit that would write to it."""
    with place.open("ab") as file:
        with suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another process works on {place.parent}", "wait for it, or end it"
                ) from None
        yield
