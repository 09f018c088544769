"""Make a Python environment for what cannot live beside onnxcam's own ONNX Runtime.

    ort-training  the second gradient builder, onnxruntime-training (docs/ort-training.md)
    ort-oldest    the oldest ONNX Runtime that knows opset 20 (docs/portability.md)
    openvino      OpenVINO (docs/portability.md)
    library-survey      timm, torchvision, transformers and others (docs/library-survey.md)
    tensorflow, paddle, mxnet    exporters (docs/forms.md)

The first three hold little more than NumPy and the one package; the others have what their
packages need, some of it large. What is there and works is kept; the path
of each Python is printed. Without FOLDER or a variable, makers and users mean the same default
place in the user's cache:

    python tools/envs.py openvino ort-oldest
    export ONNXCAM_OPENVINO_PYTHON=$(python tools/envs.py openvino --folder FOLDER)

The script needs nothing but Python: it can run before onnxcam is installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ASK_VERSION = "import sys; print(sys.version_info[1])"


@dataclass(frozen=True)
class Recipe:
    """How to make an environment.

    Attributes:
        version: Of the package that it is made for.
        packages: What pip installs, without their dependencies: runtimes need NumPy alone.
        pythons: Minor versions of Python 3 that there are wheels for.
        check: Python statement that fails where it does not work.
        whole: What pip installs before that, dependencies and all.
    """

    version: str
    packages: tuple[str, ...]
    pythons: range
    check: str
    whole: tuple[str, ...] = ()


RECIPES = {
    "ort-training": Recipe(
        "1.19.2",
        ("onnxruntime-training-cpu==1.19.2", "numpy<3"),
        range(8, 13),
        "from onnxruntime.capi.onnxruntime_pybind11_state import GradientGraphBuilder",
    ),
    "ort-oldest": Recipe(
        "1.17.0",
        ("onnxruntime==1.17.0", "numpy<2"),
        range(8, 13),
        "from onnxruntime import InferenceSession",
    ),
    "openvino": Recipe(
        "2026.4.1",
        ("openvino==2026.4.1", "openvino-telemetry", "numpy<3"),
        range(10, 14),
        "from openvino import Core; Core()",
    ),
    "library-survey": Recipe(
        "2.14.1",
        # they ask for a second OpenCV and for services that no export needs
        ("ultralytics==8.4.190", "ultralytics-thop", "segmentation-models-pytorch", "monai"),
        range(11, 12),
        "import torch, torchvision, timm, transformers, ultralytics, keras, monai",
        (
            "torch==2.14.1", "torchvision==0.29.1", "onnx==1.23.2", "onnxruntime==1.32.0",
            "onnxscript", "onnx-graphsurgeon", "timm", "transformers", "keras", "einops",
            "onnxconverter-common", "onnxmltools", "onnxsim", "onnxslim", "click", "rich",
            "pillow", "pyyaml", "matplotlib", "scipy", "requests", "psutil", "polars",
            "opencv-python-headless", "scikit-image", "pytest",
        ),
    ),
    "tensorflow": Recipe(
        "2.21.0", (), range(10, 14), "import tensorflow, tf2onnx",
        ("tensorflow-cpu==2.21.0", "tf2onnx==1.17.0", "onnx"),
    ),
    "paddle": Recipe(
        "3.3.1", (), range(9, 14), "import paddle, paddle2onnx",
        ("paddlepaddle==3.3.1", "paddle2onnx==2.1.0", "packaging"),
    ),
    "mxnet": Recipe(
        "1.9.1", (), range(8, 12), "import mxnet",
        ("mxnet==1.9.1", "numpy==1.23.5", "onnx==1.14.1", "protobuf<4"),
    ),
}  # fmt: skip


def main() -> int:
    """Make the environments that are not there yet; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=RECIPES, metavar="NAME")
    parser.add_argument("--folder", type=Path, help="where to, for a single NAME")
    parser.add_argument("--python", help="the Python to make it with; default: one that fits")
    options = parser.parse_args()
    if options.folder is not None and len(options.names) > 1:
        parser.error("--folder is for a single NAME")
    made = [provide(name, options.folder, options.python) for name in options.names]
    return 0 if all(made) else 1


def provide(name: str, folder: Path | None = None, base: str | None = None) -> bool:
    """Make an environment where it is not there yet, print its Python, and tell whether it works.

    Args:
        name: One of RECIPES.
        folder: Where to; None is the default place.
        base: The Python to make it with; None looks for one.
    """
    recipe, folder = RECIPES[name], (folder or default_environment(name)).absolute()
    python = environment_python(folder)
    if not works(python, recipe):
        base = base or next(fitting(recipe.pythons), None)
        if base is None:
            newest = recipe.pythons[-1]
            said = f"no Python from 3.{recipe.pythons[0]} to 3.{newest} found for {name}"
            print(f"{said}: name one with --python", file=sys.stderr)
            return False
        print(f"making {folder} with {base}", file=sys.stderr)
        if not make(folder, base, recipe):
            return False
    print(python)
    return True


def default_environment(name: str) -> Path:
    """Return where an environment is unless told otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "onnxcam" / f"{name}-{RECIPES[name].version}"


def environment_python(environment: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def interpreter(name: str) -> Path:
    """Return the Python of an environment: that of ONNXCAM_<NAME>_PYTHON, or the default one's.

    It need not be there.
    """
    variable = f"ONNXCAM_{name.upper().replace('-', '_')}_PYTHON"
    return Path(os.environ.get(variable) or environment_python(default_environment(name)))


def works(python: Path, recipe: Recipe) -> bool:
    """Tell whether an interpreter is there and has what the environment is for."""
    return python.is_file() and not _run([str(python), "-I", "-c", recipe.check], quiet=True)


def fitting(pythons: range) -> Iterator[str]:
    """Yield the Pythons of these minor versions: this one first, then the newest."""
    if sys.version_info[1] in pythons:
        yield sys.executable
    for minor in reversed(pythons):
        found = shutil.which(f"python3.{minor}")
        # a version manager's stub is found too, and fails
        if found and _said([found, "-c", ASK_VERSION]) == str(minor):
            yield found


def make(folder: Path, base: str, recipe: Recipe) -> bool:
    """Make the environment and tell whether it works."""
    python = str(environment_python(folder))
    pip = [python, "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    steps = (
        [base, "-m", "venv", "--clear", str(folder)],
        [*pip, *recipe.whole] if recipe.whole else [],
        [*pip, "--no-deps", *recipe.packages] if recipe.packages else [],
        [python, "-I", "-c", recipe.check],
    )
    for step in filter(None, steps):
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
