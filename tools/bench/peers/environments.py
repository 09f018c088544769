"""The environments that other tools run in: made once, kept in the cache directory."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from onnxcam.errors import OnnxcamError

_DONE = ".complete"


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    Attributes:
        name: Its name.
        needs: Installed with all that they need.
        bare: Installed without, since what they ask for is never used here, or cannot be had.
        proof: Python that runs once everything is there.
    """

    name: str
    needs: tuple[str, ...]
    bare: tuple[str, ...]
    proof: str

    @property
    def folder(self) -> Path:
        """Where it lies: another one for other packages."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        text = "\n".join([sys.version, *self.needs, "", *self.bare, "", self.proof])
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return cache / "onnxcam" / "bench" / f"{self.name}-{digest}"


def is_made(environment: Environment) -> bool:
    """Tell whether an environment is there, whole."""
    return (environment.folder / _DONE).exists()


def python(environment: Environment) -> Path:
    """Return an environment's interpreter; makes the environment where it is not there yet.

    Raises:
        OnnxcamError: It cannot be made; the message has the last words of the step that failed.
    """
    folder = environment.folder
    found = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if is_made(environment):
        return found
    pip = [str(found), "-m", "pip", "install", "--quiet"]
    _step(environment, [sys.executable, "-m", "venv", "--clear", str(folder)])
    if environment.needs:
        _step(environment, [*pip, *environment.needs])
    if environment.bare:
        _step(environment, [*pip, "--no-deps", *environment.bare])
    _step(environment, [str(found), "-I", "-c", environment.proof])
    (folder / _DONE).touch()
    return found


def _step(environment: Environment, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = ([line for line in done.stderr.splitlines() if line.strip()] or ["no message"])[-1]
        raise OnnxcamError(
            f"the environment {environment.name!r} cannot be made: {last.strip()}",
            f"the step was: {' '.join(command[1:])[:200]}",
        )
