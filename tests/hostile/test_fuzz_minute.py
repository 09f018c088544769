"""A little of the fuzzer, with a fixed seed; `python -m fuzz.run` in tools/ has the hours."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fuzz import run
from fuzz.mutate import of_bytes, of_structure
from support import nets

FAULTS = ("fault", "crash")  # each is one line: of ours, please report it; of native code
FOUND = Path(__file__).parent / "found"
TOOLS = Path(__file__).resolve().parents[2] / "tools"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it works in copies of a process")


def _fuzzed(*words: str) -> Counter[str]:
    """Run it as from the shell: a copy of a process with threads, as of tests, may hang."""
    paths = os.pathsep.join(filter(None, (*map(str, (TOOLS.parent, TOOLS)), *sys.path)))
    ran = subprocess.run(
        [sys.executable, "-m", "fuzz.run", *words],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert ran.returncode in (0, 1), ran.stderr
    lines = (line.split(maxsplit=1) for line in ran.stdout.splitlines())
    return Counter({kind: int(number) for number, kind in lines})


@pytest.mark.parametrize("seed", range(3))
def test_damaged_models_give_a_line_or_what_is_right(seed: int) -> None:
    found = _fuzzed("--seconds", "40", "--seed", str(seed), "--count", "60")
    assert [k for k in found if k not in run.FINE and not k.startswith(FAULTS)] == []
    assert sum(n for k, n in found.items() if k.startswith("fault")) <= 2, found
    assert found["right"] and found["refused"]


@pytest.mark.exhaustive
def test_a_minute_of_damaged_models() -> None:
    found = _fuzzed("--seconds", "60", "--seed", "1")
    assert [k for k in found if k not in run.FINE and not k.startswith(FAULTS)] == []


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.onnx")), ids=str)
def test_what_was_found_stays_mended(path: Path) -> None:
    said = run.outcome(path.read_bytes())
    assert said in run.FINE or said.startswith("crash"), said


def test_the_fuzzer_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break a rule of each kind: a raw error, a fault of ours, another result, a hang."""
    data = nets.cnn().SerializeToString()
    assert run.outcome(data) == "right"
    from onnxcam.run import session

    monkeypatch.setattr(session.Session, "__init__", lambda *a, **o: 1 / 0)
    assert run.outcome(data).startswith("raises ZeroDivisionError")
    monkeypatch.undo()
    monkeypatch.setattr(run, "_held", lambda *a: "differs by 1")
    assert run.outcome(data) == "differs by 1"
    monkeypatch.setattr(run, "worked", lambda data: 1 / 0)
    assert run.outcome(data) == "nothing said"


def test_a_seed_gives_the_same_damage() -> None:
    data = nets.cnn().SerializeToString()
    for way in (of_structure, of_bytes):
        again = [way(data, random.Random(3)) for _ in range(2)]
        assert again[0] == again[1] != data
