"""Run every tool on a network and collect what it cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import onnxcam
from bench.comparisons import Settings
from bench.peers.catalog import PACKAGES, Peer
from bench.peers.environments import Environment, python
from bench.peers.worker import Request
from bench.subjects import export, from_file
from bench.timing import Ratio, milliseconds, ratio
from onnxcam.errors import OnnxcamError

_ROOT = Path(__file__).resolve().parents[3]
_PATHS = (_ROOT, _ROOT / "tools")
_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Cost:
    """What a tool cost on a network.

    Attributes:
        subject: Name of the network.
        peer: Name of the tool.
        label: Its label.
        plain_ms: Median of plain inference in ONNX Runtime: F.
        ratio: The explanation against F; None where the tool failed.
        own: The same against plain inference in the tool's own framework.
        correlation: Of its map with onnxcam's, where both are Grad-CAM's.
        versions: Of the packages in its environment.
        limit: The most that ``own`` may be.
        problem: Why it could not be measured.
    """

    subject: str
    peer: str
    label: str
    plain_ms: float | None = None
    ratio: Ratio | None = None
    own: Ratio | None = None
    correlation: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    limit: float | None = None
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether it keeps its limit, if it has one and could be measured."""
        return self.limit is None or self.own is None or self.own.median <= self.limit


def costs(archs: Sequence[str], peers: Sequence[Peer], settings: Settings) -> Iterator[Cost]:
    """Yield what each tool costs on each network of tools/architectures, batch 1."""
    places = {peer.environment: _place(peer.environment) for peer in peers}
    for arch in archs:
        with TemporaryDirectory(prefix="bench-") as folder:
            request = _prepared(arch, Path(folder), settings)
            for peer in peers:
                yield _cost(peer, places[peer.environment], request, settings)


def _place(environment: Environment | None) -> Path | str:
    """Return the interpreter of an environment, or why there is none."""
    try:
        return python(environment) if environment else Path(sys.executable)
    except OnnxcamError as error:
        return str(error)


def _prepared(arch: str, folder: Path, settings: Settings) -> Request:
    """Write the files that every worker gets."""
    # TorchScript's files have the operators that every reader of ONNX knows.
    path = export(arch, folder, exporter="torchscript")
    explained = folder / "explained.onnx"
    onnxcam.convert(path, explained)
    subject = from_file(path, batch=1, dims={}, seed=settings.seed)
    (x,) = subject.feeds.values()
    np.save(folder / "input.npy", x)
    found = onnxcam.Explainer(path, device="cpu", threads=settings.threads)(x)
    np.save(folder / "map.npy", found.map)
    return Request(
        module="", peer="", arch=arch, model=str(path), explained=str(explained),
        input=str(folder / "input.npy"), target=found.target, runs=settings.runs,
        warmup=settings.warmup, plain_calls=1, threads=settings.threads, clock=settings.clock,
        packages=list(PACKAGES), answer=str(folder / "answer.json"),
    )  # fmt: skip


def _cost(peer: Peer, place: Path | str, prepared: Request, settings: Settings) -> Cost:
    request = replace(prepared, module=peer.module, peer=peer.name)
    if peer.slow:
        request = replace(request, runs=2, warmup=0, plain_calls=50)
    cost = Cost(request.arch, peer.name, peer.label, limit=peer.limit)
    if isinstance(place, str):
        return replace(cost, problem=place)
    try:
        answer = _answer(place, request)
    except OnnxcamError as error:
        return replace(cost, problem=str(error))
    times = {name: np.asarray(row) for name, row in answer["times"].items()}
    explain = times["explain"]
    return replace(
        cost,
        plain_ms=milliseconds(times["plain"]),
        ratio=ratio(times["plain"], explain, seed=settings.seed),
        own=ratio(times.get("own", times["plain"]), explain, seed=settings.seed),
        correlation=_correlation(request) if peer.same else None,
        versions=answer["versions"],
    )


def _answer(interpreter: Path, request: Request) -> dict[str, Any]:
    answer = Path(request.answer)
    asked = answer.with_name("request.json")
    asked.write_text(json.dumps(asdict(request)))
    environment = os.environ | {name: str(request.threads) for name in _POOLS}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, _PATHS)), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [str(interpreter), "-m", "bench.peers.worker", str(asked)],
        capture_output=True, text=True, check=False, env=environment, cwd=answer.parent,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise OnnxcamError(f"{request.peer} failed: {last}", "run it by hand in its environment")
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def _correlation(request: Request) -> float | None:
    """Return how much a map is like onnxcam's, up to scale and shift: 1 is the same."""
    folder = Path(request.answer).parent
    theirs, ours = np.load(folder / "answer.npy"), np.load(folder / "map.npy")
    if theirs.shape != ours.shape or not theirs.std() or not ours.std():
        return None
    return float(np.corrcoef(theirs.ravel(), ours.ravel())[0, 1])
