"""A little of the fuzzer of files and of the killing, with fixed seeds."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz import files, kills
from fuzz.apart import apart

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it works in copies of a process")


def test_damaged_files_are_read_or_refused_in_a_line() -> None:
    found = files.fuzz(150, 0, 60, None)
    assert [k for k in found if k not in files.FINE and not k.startswith("crash")] == []
    assert found["right"] and found["refused"]


@pytest.mark.exhaustive
def test_many_damaged_files() -> None:
    found = files.fuzz(3000, 7, 60, None)
    assert [k for k in found if k not in files.FINE and not k.startswith("crash")] == []


def test_the_seeds_themselves_are_right(tmp_path: Path) -> None:
    for ending, data in files.seeds():
        path = tmp_path / (ending if ending[0] != "." else f"x{ending}")
        path.write_bytes(data)
        said = files.worked(path)
        assert said == "right" or (said == "refused" and "tiff" in ending), (ending, said)


def test_the_fuzzer_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from onnxcam import inputs

    path = tmp_path / "x.npy"
    np.save(path, np.zeros((1, 3, 8, 8), np.float32))
    assert files.worked(path) == "right"
    monkeypatch.setattr(inputs, "prepare", lambda *a: 1 / 0)
    assert files.worked(path).startswith(("raises ZeroDivisionError", "fault"))
    assert apart(lambda: 1 / 0) == "nothing said"  # type: ignore[arg-type, return-value]
    assert apart(lambda: signal.raise_signal(signal.SIGKILL) or "") == "crash SIGKILL"


@pytest.mark.exhaustive
def test_what_is_killed_leaves_nothing() -> None:
    numbers = {signal.SIGKILL: 3, signal.SIGTERM: 3, signal.SIGINT: 3}
    done, wrong = kills.kills({int(n): k for n, k in numbers.items()}, seed=5)
    assert wrong == []
    assert sum(done.values()) == 9
