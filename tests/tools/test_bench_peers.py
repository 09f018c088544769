"""Other tools: their environments, the worker, and what is said of one that fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support import nets

ROOT = Path(__file__).resolve().parents[2]

from bench.comparisons import Settings  # noqa: E402
from bench.peers import environments, measure, worker  # noqa: E402
from bench.peers.catalog import PEERS, Peer  # noqa: E402
from bench.peers.environments import Environment  # noqa: E402
from bench.timing import Ratio  # noqa: E402

from onnxcam.errors import OnnxcamError  # noqa: E402

FAST = Settings(runs=2, warmup=1)
PLAIN = Environment("plain", (), (), "import json")
Steps = list[list[str]]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Steps:
    """Record the commands that make an environment; those with "broken" in them fail."""
    made: Steps = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        made.append(command)
        if command[1:3] == ["-m", "venv"]:
            Path(command[-1]).mkdir(parents=True)
        fails = any("broken" in word for word in command)
        return subprocess.CompletedProcess(
            command, int(fails), "", "a line\nERROR: no such thing\n\n"
        )

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(environments.subprocess, "run", run)
    return made


def test_an_environment_is_made_once(steps: Steps) -> None:
    wanted = Environment("e", ("a==1",), ("b==2",), "import a")
    found = environments.python(wanted)
    assert found.is_relative_to(wanted.folder)
    assert [command[1:] for command in steps[1:]] == [
        ["-m", "pip", "install", "--quiet", "a==1"],
        ["-m", "pip", "install", "--quiet", "--no-deps", "b==2"],
        ["-I", "-c", "import a"],
    ]
    assert environments.python(wanted) == found and len(steps) == 4


@pytest.mark.parametrize(
    "change", [{"needs": ("a==2",)}, {"bare": ("a==1",), "needs": ()}, {"proof": "import b"}]
)
def test_other_packages_are_another_environment(change: dict[str, Any]) -> None:
    wanted = Environment("e", ("a==1",), (), "import a")
    assert replace(wanted, **change).folder != wanted.folder


@pytest.mark.parametrize(
    "wanted", [replace(PLAIN, needs=("broken",)), replace(PLAIN, proof="import broken")]
)
def test_an_environment_that_fails_is_tried_again(steps: Steps, wanted: Environment) -> None:
    for _ in range(2):
        with pytest.raises(OnnxcamError, match=r"'plain' cannot be made: ERROR: no such thing"):
            environments.python(wanted)
        wanted.folder.rmdir()
    assert len(steps) >= 4


def test_every_tool_is_known_to_its_module() -> None:
    for peer in PEERS:
        code = (ROOT / "tools" / "bench" / "peers" / f"{peer.module}.py").read_text()
        assert f"def {peer.name.replace('-', '_')}(request: Request) -> Calls:" in code


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a small net in the place of every network."""

    def export(name: str, folder: Path, *, exporter: str) -> Path:
        onnx.save(nets.cnn(size=24), str(folder / "net.onnx"))
        return folder / "net.onnx"

    monkeypatch.setattr(measure, "export", export)


def _of(name: str) -> Peer:
    return next(peer for peer in PEERS if peer.name == name)


def test_onnxcam_is_measured_in_a_process_of_its_own(small: None) -> None:
    (cost,) = measure.costs(["small"], [replace(_of("explained"), limit=1e-6)], FAST)
    assert cost.problem is None and not cost.passed
    assert isinstance(cost.ratio, Ratio) and cost.ratio.low <= cost.ratio.median
    assert cost.own == cost.ratio  # its own framework is ONNX Runtime
    assert cost.correlation == pytest.approx(1, abs=1e-4)
    assert cost.versions["numpy"] == np.__version__ and cost.plain_ms


def test_a_tool_that_cannot_be_had_is_reported(small: None, steps: Steps) -> None:
    peer = replace(_of("captum"), environment=replace(PLAIN, needs=("broken",)))
    (cost,) = measure.costs(["small"], [peer], FAST)
    assert cost.ratio is None and "ERROR: no such thing" in (cost.problem or "")
    assert len(steps) == 2  # nothing was run after pip failed


def test_a_tool_that_fails_is_reported_with_its_words(small: None) -> None:
    peer = replace(_of("explained"), name="nowhere")
    (cost,) = measure.costs(["small"], [peer], FAST)
    assert cost.ratio is None and "has no attribute 'nowhere'" in (cost.problem or "")


def test_the_worker_takes_the_mean_of_several_plain_calls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = {"now": 0.0}

    def lasting(seconds: float) -> Callable[[], float]:
        def call() -> float:
            clock["now"] += seconds
            return seconds

        return call

    module = type(sys)("bench.peers.fake")
    module.slow_tool = lambda request: worker.Calls(lasting(70.0), lasting(3.0))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bench.peers.fake", module)
    monkeypatch.setitem(worker.CLOCKS, "wall", lambda: clock["now"])
    monkeypatch.setattr(worker, "runtime_call", lambda path, request: lasting(2.0))
    request = worker.Request(
        "fake", "slow-tool", "", "", "", "", 0, runs=2, warmup=0, plain_calls=50, threads=1,
        clock="wall", packages=["numpy", "no-such-package"], answer=str(tmp_path / "a.json"),
    )  # fmt: skip
    found = worker.answer(request)
    assert found == {
        "times": {"plain": [2, 2], "own": [3, 3], "explain": [70, 70]},
        "versions": {"numpy": np.__version__},
    }
    json.dumps(found)


@pytest.mark.exhaustive
@pytest.mark.parametrize("peer", [p for p in PEERS if not p.slow], ids=lambda p: p.name)
def test_a_tool_explains_mobilenet_and_makes_the_same_map(peer: Peer) -> None:
    if peer.environment and not environments.is_made(peer.environment):
        pytest.skip(f"no environment {peer.environment.name!r}: `tools/bench.py peers` makes it")
    (cost,) = measure.costs(["mobilenet_v2"], [peer], FAST)
    assert cost.problem is None
    assert cost.ratio is not None and cost.ratio.median > 0.5
    # what is missing to 1 is the way of enlarging a map of 7 x 7
    assert cost.correlation is None if not peer.same else cost.correlation > 0.99
