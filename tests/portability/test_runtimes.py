"""Explained models give the same answers in every runtime that is at hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import runtimes
from support.explained import OTHER, Subject, subjects

from onnxcam.errors import UsageError

FIXED = ("openvino",)  # these take an input that has a default for a constant


@pytest.fixture(scope="module")
def known() -> list[Subject]:
    return subjects()


@pytest.fixture(params=list(runtimes.RUNTIMES))
def runtime(request: pytest.FixtureRequest) -> str:
    """A runtime that is here; what .ci/run has made has to be found."""
    name: str = request.param
    try:
        runtimes.interpreter(name)
    except UsageError as error:
        if os.environ.get("ONNXCAM_REQUIRE_RUNTIMES"):
            raise
        pytest.skip(str(error))
    return name


def _answers(
    runtime: str, asked: list[tuple[Subject, Path, dict[str, Any]]], folder: Path
) -> list[tuple[dict[str, np.ndarray], list[str]]]:
    """Run models in a runtime; returns the outputs of each and the inputs that it takes."""
    jobs = []
    for i, (subject, path, more) in enumerate(asked):
        np.savez(folder / f"{i}.npz", **{**subject.feeds, **more})
        jobs.append({"model": str(path), "feeds": str(folder / f"{i}.npz"),
                     "result": str(folder / f"{i}.out.npz")})  # fmt: skip
    answers = runtimes.run(runtime, jobs)
    failed = {j["model"]: a["error"] for j, a in zip(jobs, answers, strict=True) if a["error"]}
    assert not failed
    results = [dict(np.load(job["result"])) for job in jobs]
    return list(zip(results, [a["inputs"] for a in answers], strict=True))


def _same(got: dict[str, np.ndarray], subject: Subject, want: np.ndarray, what: str) -> None:
    for name, scores in subject.scores.items():
        gap = np.abs(got[name] - scores).max() / np.abs(scores).max()
        assert gap < 1e-4, f"{what}: {name} is off by {gap:.1e}"
    gap = np.linalg.norm(got["onnxcam.map"] - want) / np.linalg.norm(want)
    assert gap < 1e-3, f"{what}: the map is off by {gap:.1e}"


def test_every_runtime_gives_the_same_scores_and_maps(
    runtime: str, known: list[Subject], tmp_path: Path
) -> None:
    asked = [(subject, subject.write(tmp_path), {}) for subject in known]
    for subject, (got, inputs) in zip(known, _answers(runtime, asked, tmp_path), strict=True):
        _same(got, subject, subject.top, subject.name)
        (scores,) = subject.scores.values()
        assert got["onnxcam.class"].tolist() == [[scores.argmax()]]
        assert ("onnxcam.target" in inputs) == (runtime not in FIXED), inputs


def test_every_runtime_explains_another_class(
    runtime: str, known: list[Subject], tmp_path: Path
) -> None:
    """By its input, without a default where the runtime would take that for a constant."""
    options = {"require_target": True} if runtime in FIXED else {}
    more = {"onnxcam.target": np.array([OTHER], np.int64)}
    asked = [(subject, subject.write(tmp_path, **options), more) for subject in known]
    for subject, (got, inputs) in zip(known, _answers(runtime, asked, tmp_path), strict=True):
        _same(got, subject, subject.other, subject.name)
        assert "onnxcam.target" in inputs
        assert got["onnxcam.class"].tolist() == [[OTHER]]
        assert not np.allclose(subject.other, subject.top)
