"""Make the Python environment that the gradient builder ``ort-training`` runs in.

It holds onnxruntime-training-cpu and NumPy, nothing else (about 100 MB), and needs a Python from
3.8 to 3.12. What is there and works is kept. The path of its Python is printed:

    export ONNXCAM_ORT_TRAINING_PYTHON=$(python tools/ort_training_env.py)

Without the variable onnxcam looks in the default place, where this script puts it. The script
needs nothing but Python: it can run before onnxcam is installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSION = "1.19.2"
PYTHONS = range(8, 13)  # 3.x: there are wheels for these
PACKAGES = (f"onnxruntime-training-cpu=={VERSION}", "numpy<3")
CHECK = "from onnxruntime.capi.onnxruntime_pybind11_state import GradientGraphBuilder"
ASK_VERSION = "import sys; print(sys.version_info[1])"


def main() -> int:
    """Make the environment where it is not there yet; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help=f"default {default_environment()}")
    parser.add_argument("--python", help="the Python to make it with; default: one that fits")
    options = parser.parse_args()
    folder = (options.folder or default_environment()).absolute()
    python = environment_python(folder)
    if not works(python):
        base = options.python or next(fitting(), None)
        if base is None:
            print("no Python from 3.8 to 3.12 found: name one with --python", file=sys.stderr)
            return 1
        print(f"making {folder} with {base}", file=sys.stderr)
        if not make(folder, base):
            return 1
    print(python)
    return 0


def default_environment() -> Path:
    """Return where onnxcam looks unless told otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "onnxcam" / f"ort-training-{VERSION}"


def environment_python(environment: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def works(python: Path) -> bool:
    """Tell whether an interpreter is there and has the gradient builder."""
    return python.is_file() and not _run([str(python), "-I", "-c", CHECK], quiet=True)


def fitting() -> Iterator[str]:
    """Yield the Pythons that the packages have wheels for: this one first, then the newest."""
    if sys.version_info[1] in PYTHONS:
        yield sys.executable
    for minor in reversed(PYTHONS):
        found = shutil.which(f"python3.{minor}")
        # a version manager's stub is found too, and fails
        if found and _said([found, "-c", ASK_VERSION]) == str(minor):
            yield found


def make(folder: Path, base: str) -> bool:
    """Make the environment and tell whether it works."""
    python = str(environment_python(folder))
    pip = [python, "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    steps = (
        [base, "-m", "venv", "--clear", str(folder)],
        [*pip, "--no-deps", *PACKAGES],  # its other dependencies are those of training loops
        [python, "-I", "-c", CHECK],
    )
    for step in steps:
        if _run(step):
            print(f"failed: {' '.join(step)}", file=sys.stderr)
            return False
    return True


def _run(command: list[str], *, quiet: bool = False) -> int:
    stderr = subprocess.DEVNULL if quiet else sys.stderr
    return subprocess.run(command, stdout=stderr, stderr=stderr, check=False).returncode


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if not done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
