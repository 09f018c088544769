"""The script that makes the environments for runtimes that live apart."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from onnxcam.autodiff.ort_training import builder as ort_training

TOOL = Path(__file__).resolve().parents[2] / "tools" / "envs.py"
envs = import_module("envs")


@pytest.mark.parametrize("name", ["ort-training", "ort-oldest", "openvino"])
def test_the_tool_keeps_an_environment_that_works(name: str) -> None:
    python = envs.interpreter(name)
    if not python.is_file():
        pytest.skip(f"make it with `python tools/envs.py {name}`")
    done = subprocess.run(
        [sys.executable, TOOL, name, "--folder", python.parents[1]],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == str(python)
    assert not done.stderr


def test_the_tool_and_the_builder_mean_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert envs.RECIPES["ort-training"].version == ort_training.VERSION
    assert envs.default_environment("ort-training") == ort_training.default_environment()
    place = ort_training.default_environment()
    assert envs.environment_python(place) == ort_training.environment_python(place)
    monkeypatch.setenv(ort_training.PYTHON_VARIABLE, __file__)
    assert envs.interpreter("ort-training") == ort_training.interpreter() == Path(__file__)


def test_the_tool_says_what_failed(tmp_path: Path) -> None:
    folder = tmp_path / "environment"
    command = [sys.executable, TOOL, "openvino", "--folder", folder, "--python", "false"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "failed: false -m venv" in done.stderr
    assert not done.stdout


def test_one_folder_is_for_one_environment(tmp_path: Path) -> None:
    command = [sys.executable, TOOL, "openvino", "ort-oldest", "--folder", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "--folder is for a single NAME" in done.stderr
