"""An audit checked by somebody else: every hash, the log's chain, the verdict from the records."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxcam.audit import bundle, evidence, kept, results
from onnxcam.audit.bom import bom_text
from onnxcam.audit.data import load_sample
from onnxcam.audit.job import JOB, Job
from onnxcam.audit.log import RunLog
from onnxcam.audit.policy import parsed
from onnxcam.audit.store import Store
from onnxcam.audit.verdict import judge
from onnxcam.audit.work.child import samples_in
from onnxcam.errors import InputError, OnnxcamError, json_text


@dataclass(frozen=True)
class Checked:
    """What a check of an audit found.

    Attributes:
        result: The verdict of the audit, as its folder says it.
        exit_code: That of the verdict.
        problems: What is wrong, in words; empty when nothing is.
        unseen: What could not be checked, in words: files that are not here.
        files: How many files were hashed.
    """

    result: str
    exit_code: int
    problems: tuple[str, ...]
    unseen: tuple[str, ...]
    files: int


def verify(folder: str | os.PathLike[str], *, data: bool = True) -> Checked:
    """Check an audit's folder, the models' files and the data that it names.

    Args:
        folder: The folder.
        data: Whether the samples are hashed too, those that are there.

    Raises:
        InputError: It is no audit's folder, or one that is not finished.
    """
    return _verified(Path(folder), data)


def _verified(folder: Path, data: bool) -> Checked:
    place = folder / bundle.MANIFEST
    if not place.is_file():
        unfinished = (folder / JOB).is_file()
        raise InputError(
            f"{folder} holds {'an audit that is not finished' if unfinished else 'no audit'}",
            "go on with it by `resume=True`" if unfinished else "check the path",
        )
    problems: list[str] = []
    unseen: list[str] = []
    checks: list[Callable[[], Iterator[tuple[bool, str]]]] = [
        lambda: _manifest(folder), lambda: _derived(folder), lambda: _logged(folder),
        lambda: _models(folder), lambda: _samples(folder) if data else iter(()),
    ]  # fmt: skip
    for check in checks:
        try:
            with bundle.intact(folder):
                for missing, said in check():
                    (unseen if missing else problems).append(said)
        except OnnxcamError as error:
            problems.append(error.message)
    try:
        verdict = kept.read(folder / bundle.VERDICT)
        said, code = str(verdict["result"]), int(verdict["exit_code"])
    except (OnnxcamError, OSError, ValueError, LookupError, TypeError, RecursionError):
        said, code = "unknown", 1
    count = sum(p.is_file() for p in folder.rglob("*"))
    return Checked(said, code, tuple(problems), tuple(unseen), count)


def _manifest(folder: Path) -> Iterator[tuple[bool, str]]:
    """Compare the manifest and the statement with what they would be now, byte by byte."""
    now = bundle.manifest_text(folder)
    raw = kept.raw(folder / bundle.MANIFEST)
    if raw != now.encode():
        yield from _changed(raw, now)
    statement = kept.raw(folder / bundle.STATEMENT)
    if statement != bundle.statement_text(folder, raw.decode(errors="replace")).encode():
        yield False, f"{bundle.STATEMENT} is not what the verdict and the manifest make it"


def _changed(raw: bytes, now: str) -> Iterator[tuple[bool, str]]:
    """Say which files are not what the manifest says."""
    try:
        said = json.loads(raw)["files"]
        there = json.loads(now)["files"]
        changed = [n for n in {*said, *there} if said.get(n) != there.get(n)]
    except (ValueError, KeyError, TypeError, AttributeError):
        changed = []
    for name in sorted(changed):
        what = "is missing" if name not in there else "is not in the manifest"
        yield False, f"{name} {'is not what it was' if name in said and name in there else what}"
    if not changed:
        yield False, f"{bundle.MANIFEST} itself is not what it was"


def _derived(folder: Path) -> Iterator[tuple[bool, str]]:
    """Make verdict, summary, tests and bill again from records and policy."""
    job = Job.read(folder / JOB)
    policy = parsed(kept.text(folder / "policy.toml"), "policy.toml")
    said = kept.read(folder / bundle.RESULTS)
    found = results.tables(Store(folder, job.chunk), said["trust"], said["suspicious"])
    samples = samples_in(folder)
    per_sample = len(job.models) * len(job.methods)
    records = list(Store(folder, job.chunk).read("records", ["id"]))
    if [r["id"] for r in records] != [s.id for s in samples for _ in range(per_sample)]:
        yield False, "the records are not one for each sample, model and method"
    made = {"policy": policy.name, **judge(policy, found, said["conflicts"]).as_dict()}
    if json_text(made) != json_text(kept.read(folder / bundle.VERDICT)):
        yield False, "the verdict does not follow from the records and the policy"
    for name, text in (
        (bundle.JUNIT, bundle.junit_text(made)),
        (bundle.SUMMARY, bundle.summary_text(folder)),
        ("bom.json", bom_text(folder)),
    ):
        if kept.raw(folder / name) != text.encode():
            yield False, f"{name} does not follow from the results"


def _logged(folder: Path) -> Iterator[tuple[bool, str]]:
    """Check that the log hangs together, and that the policy was there before the samples."""
    log = RunLog(folder)
    problem = log.problem()
    if problem is not None:
        yield False, problem
        return
    entries = log.entries()
    policy = hashlib.sha256(kept.raw(folder / "policy.toml")).hexdigest()
    if not entries or entries[0].get("policy_sha256") != policy:
        yield False, "the policy is not the one that the run log began with"


def _models(folder: Path) -> Iterator[tuple[bool, str]]:
    said: dict[str, Any] = kept.read(folder / bundle.EVIDENCE)["models"]
    for name, model in said.items():
        for file in model["files"]:
            place = Path(file["path"])
            if not place.is_file():
                yield True, f"{place} ({name}) is not here"
            elif evidence.file_hash(place) != file["sha256"]:
                yield False, f"{place} ({name}, {file['role']}) is not what was audited"


def _samples(folder: Path) -> Iterator[tuple[bool, str]]:
    """Hash the samples that are there, against their records."""
    job = Job.read(folder / JOB)
    records = Store(folder, job.chunk).read("records", ["id", "sha256"])
    known = {r["id"]: r["sha256"] for r in records if r["sha256"] is not None}
    missing = 0
    for sample in samples_in(folder):
        if sample.id not in known:
            continue
        if not sample.file.is_file():
            missing += 1
        elif sample.kind == "file":
            if evidence.file_hash(sample.file) != known[sample.id]:
                yield False, f"the sample {sample.id} is not what was audited"
        elif load_sample(sample).sha256 != known[sample.id]:
            yield False, f"the sample {sample.id} is not what was audited"
    if missing:
        yield True, f"{missing} samples are not here"
