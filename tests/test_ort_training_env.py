"""The script that makes the environment of the second gradient builder."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from onnxcam.autodiff import ort_training
from onnxcam.errors import UsageError

TOOL = Path(__file__).resolve().parents[1] / "tools" / "ort_training_env.py"


def test_the_tool_keeps_an_environment_that_works() -> None:
    try:
        training = ort_training.interpreter()
    except UsageError as error:
        pytest.skip(str(error))
    folder = training.parents[1]
    done = subprocess.run(
        [sys.executable, TOOL, folder], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == str(training)
    assert not done.stderr


def test_the_tool_and_the_builder_mean_the_same_place() -> None:
    tool = runpy.run_path(str(TOOL))
    assert tool["VERSION"] == ort_training.VERSION
    for name in ("default_environment", "environment_python"):
        arguments = [Path("environment")] if name == "environment_python" else []
        assert tool[name](*arguments) == getattr(ort_training, name)(*arguments)


def test_the_tool_says_what_failed(tmp_path: Path) -> None:
    command = [sys.executable, TOOL, tmp_path / "environment", "--python", "false"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "failed: false -m venv" in done.stderr
