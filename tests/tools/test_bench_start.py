"""What a start costs: whose processor time is counted, which tree is run, what is kept between."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from support import nets

ROOT = Path(__file__).resolve().parents[2]

from bench import start  # noqa: E402

from onnxcam.errors import UsageError  # noqa: E402

_BURNS = """
import time
def main():
    begin = time.process_time()
    while time.process_time() - begin < {seconds}:
        pass
    time.sleep(0.2)
"""


@pytest.fixture
def files(tmp_path: Path) -> start.Files:
    """A small net and an input for it."""
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(1, 2, 6, 6)).astype("f4"))
    return start.Files(tmp_path / "m.onnx", tmp_path / "x.npy", tmp_path / "m.onnx")


def _tree(folder: Path, root: Path) -> start.Tree:
    folder.mkdir()
    return start.Tree(root, folder)


def _burning(folder: Path, seconds: float) -> start.Tree:
    """Return a tree whose every command takes so long, and then waits."""
    package = folder / "onnxcam"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(_BURNS.format(seconds=seconds))
    return _tree(folder / "kept", folder)


def test_the_processors_time_of_each_trees_own_commands_is_counted(
    tmp_path: Path, files: start.Files
) -> None:
    trees = [_burning(tmp_path / str(seconds), seconds) for seconds in (0.1, 0.5)]
    quick, slow = start._paired(trees, lambda tree: tree.warm(files), 3, 1)
    assert (np.abs(slow - quick - 0.4) < 0.1).all()
    assert (quick < 0.25).all()  # to wait costs nothing


def test_only_the_cold_start_compiles(tmp_path: Path, files: start.Files) -> None:
    kept = tmp_path / "kept"
    tree = _tree(kept, ROOT)
    assert tree.cold(files) > 0 and not (kept / "models").exists()
    assert tree.warm(files) > 0
    (entry,) = (p for p in (kept / "models").iterdir() if ".layers" not in p.suffixes)
    entry.write_bytes(b"")  # what is damaged is written again, what is whole is not
    assert tree.warm(files) > 0
    whole = entry.stat().st_ino
    assert tree.warm(files) > 0
    left = [p for p in (kept / "models").iterdir() if ".layers" not in p.suffixes]
    assert [e.stat().st_ino for e in left] == [whole]
    assert any((kept / "bytecode").rglob("*.pyc"))


@pytest.mark.parametrize("name", ["vjp_model", "convert, the call", "convert --no-check"])
def test_building_is_measured(tmp_path: Path, files: start.Files, name: str) -> None:
    tree = _tree(tmp_path / "kept", ROOT)
    assert 0 < start.TASKS[name](tree, files) < 60
    assert 0 < start.TASKS[name](tree, files) < 60  # what was written before is in nobody's way


def test_a_command_that_fails_says_why(tmp_path: Path, files: start.Files) -> None:
    nowhere = start.Files(tmp_path / "none.onnx", files.input, files.built)
    with pytest.raises(UsageError, match="none.onnx: no such file"):
        _tree(tmp_path / "kept", ROOT).warm(nowhere)


def _bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "bench.py"), "start", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.exhaustive
def test_the_command_compares_two_trees(tmp_path: Path, files: start.Files) -> None:
    out = tmp_path / "out.json"
    _burning(tmp_path / "old", 9)
    done = _bench(
        "--against", tmp_path / "old", "--only", "convert --no-check", "--build", files.built,
        "--runs", "1", "--json", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(out.read_text())["start"]["results"]
    assert (row["what"], row["subject"]) == ("convert --no-check", "m.onnx")
    assert row["against"] > 9 > row["seconds"] > 0
    assert row["ratio"]["median"] == pytest.approx(row["seconds"] / row["against"])
    assert f"{row['seconds']:.3f}" in done.stdout


def test_a_folder_without_onnxcam_is_named(tmp_path: Path) -> None:
    done = _bench("--against", tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{tmp_path}: no onnxcam can be imported" in done.stderr
