"""Odd surroundings: streams that are closed, folders that are gone, links that go in circles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from support import nets

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it closes what a shell opens")


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    onnx.save(nets.cnn(channels=3), str(tmp_path / "m.onnx"))
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(tmp_path / "x.png")
    return tmp_path


def shell(desk: Path, line: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the shell; $CAM is the command."""
    words = {"CAM": f"{sys.executable} -m onnxcam", "ONNXCAM_CACHE": "off", **env}
    return subprocess.run(
        ["sh", "-c", line], cwd=desk, env={**os.environ, **words}, text=True,
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip


EXPLAIN = "$CAM explain m.onnx x.png --preprocess unit -o out.png"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_file_never_takes_the_place_of_a_closed_stream(closed: str, desk: Path) -> None:
    """What is said would be written into the picture."""
    ran = shell(desk, f"{EXPLAIN} {closed}")
    assert ran.returncode == 0 and "onnxcam did not expect" not in ran.stderr
    Image.open(desk / "out.png").load()
    assert shell(desk, f"$CAM layers m.onnx {closed}").returncode == 0


def test_a_folder_that_is_gone_is_said(desk: Path) -> None:
    words = f"explain {desk}/m.onnx {desk}/x.png --preprocess unit -o {desk}/out.png"
    ran = shell(desk, f"mkdir gone; cd gone; rmdir ../gone; $CAM {words}")
    assert ran.returncode == 1 and "the current folder is no more" in ran.stderr


def test_links_that_go_in_circles_are_no_files(desk: Path) -> None:
    (desk / "loop.onnx").symlink_to("loop.onnx")
    for words, said in (
        ("loop.onnx -o y.onnx", "symbolic links"),
        ("m.onnx -o loop.onnx", "exist"),
    ):
        ran = shell(desk, f"$CAM convert {words} --no-check")
        assert ran.returncode in (1, 2) and said in ran.stderr, ran.stderr


def test_nothing_of_what_is_run_is_kept_for_others(desk: Path) -> None:
    """ONNX Runtime's telemetry: a list in the user's home, sent to its makers."""
    (desk / "home").mkdir()
    ran = shell(desk, "$CAM convert m.onnx -o y.onnx", HOME=f"{desk}/home", XDG_CACHE_HOME="")
    assert ran.returncode == 0 and list((desk / "home").rglob("*")) == []
    ran = shell(desk, "$CAM convert m.onnx -o z.onnx", HOME="/dev/null")
    assert ran.returncode == 0 and ran.stderr == ""
