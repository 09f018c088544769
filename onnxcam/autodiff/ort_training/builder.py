"""The second gradient builder: onnxruntime-training's, in a Python environment of its own.

onnxruntime-training installs a module ``onnxruntime`` that cannot live beside the real one, and it
can abort the process: it is run in a subprocess. What it builds is lowered to standard operators,
so the result runs in a stock ONNX Runtime. See docs/ort-training.md.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import ModelProto

from onnxcam.autodiff.ort_training.lower import lower
from onnxcam.autodiff.ort_training.parcel import refused
from onnxcam.autodiff.ort_training.prepare import Prepared, prepare
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, imported
from onnxcam.graph.emit.walks import standard_opset

VERSION = "1.19.2"
PYTHON_VARIABLE = "ONNXCAM_ORT_TRAINING_PYTHON"
_OPSETS = range(11, 22)
_SECONDS = 600
# Runs in the other environment; only its own onnxruntime and the standard library are there.
_WORKER = """
import json, pathlib, sys
from onnxruntime.capi.onnxruntime_pybind11_state import GradientGraphBuilder
folder, job = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
model = (folder / "in.onnx").read_bytes()
try:
    builder = GradientGraphBuilder(model, set(job["outputs"]), set(job["wrt"]), "")
    builder.build()
except RuntimeError as error:
    (folder / "error.txt").write_text(str(error), encoding="utf-8")
else:
    (folder / "out.onnx").write_bytes(builder.get_model())
"""


def vjp(
    op: Emitter,
    outputs: Sequence[tuple[Tensor, Tensor]],
    wrt: Sequence[Tensor],
    *,
    python: str | os.PathLike[str] | None = None,
) -> list[Tensor | None]:
    """Write the vector-Jacobian products of a graph, as ``engine.vjp`` does, and return them.

    Args:
        op: Emitter of the graph.
        outputs: Pairs of a tensor and its cotangent (same shape and dtype).
        wrt: Tensors to differentiate with respect to.
        python: Interpreter of the environment with onnxruntime-training; default see
            ``interpreter``.

    Returns:
        One gradient per ``wrt`` tensor with its shape and dtype (summed over the outputs); None
        where no output depends on it.

    Raises:
        UnsupportedOp: onnxruntime-training has no gradient, or a wrong one, for an operator.
        UsageError: There is no environment with onnxruntime-training.
    """
    prepared = prepare(op, outputs, wrt)
    if prepared is None:
        return [None] * len(wrt)
    proto = _at_its_opset(prepared.proto)
    built = _build(proto, prepared, interpreter() if python is None else Path(python))
    return lower(op, imported(built), prepared)


def default_environment() -> Path:
    """Return where ``tools/envs.py`` makes the environment unless told otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "onnxcam" / f"ort-training-{VERSION}"


def environment_python(environment: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def interpreter() -> Path:
    """Return the Python of the environment with onnxruntime-training.

    It is what ONNXCAM_ORT_TRAINING_PYTHON names, else that of the default environment.

    Raises:
        UsageError: It is not there.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    python = Path(named) if named else environment_python(default_environment())
    if not python.is_file():
        raise UsageError(
            f"the ort-training gradient builder needs a Python environment of its own; {python} "
            "is not there",
            f"make it with `python tools/envs.py ort-training`, or name its Python in "
            f"{PYTHON_VARIABLE}",
        )
    return python


def _at_its_opset(proto: ModelProto) -> ModelProto:
    """Return the model at an opset that onnxruntime-training knows."""
    opset = standard_opset(proto)
    if opset in _OPSETS:
        return proto
    if opset < _OPSETS[0]:
        raise refused(f"it starts at opset {_OPSETS[0]}, and this model could not be raised")
    try:
        return onnx.version_converter.convert_version(proto, _OPSETS[-1])
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        words = " ".join(str(error).split())[:300]
        raise refused(f"it ends at opset {_OPSETS[-1]}, not {opset} ({words})") from None


def _build(proto: ModelProto, prepared: Prepared, python: Path) -> ModelProto:
    job = {"outputs": sorted(prepared.seeds), "wrt": sorted({w for w in prepared.wrt if w})}
    with tempfile.TemporaryDirectory(prefix="onnxcam-") as name:
        folder = Path(name)
        onnx.save(proto, folder / "in.onnx")
        command = [str(python), "-I", "-c", _WORKER, name, json.dumps(job)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise refused(f"it did not come back within {_SECONDS} s") from None
        if (folder / "out.onnx").is_file():
            return onnx.load(folder / "out.onnx")
        if (folder / "error.txt").is_file():
            words = _without_source((folder / "error.txt").read_text(encoding="utf-8"))
            raise refused(_in_our_names(words, prepared))
        last = " ".join(done.stderr.decode(errors="replace").split())[-400:]
        how = signal.Signals(-done.returncode).name if done.returncode < 0 else done.returncode
        raise refused(f"its process ended with {how}: {last or 'no word'}")


def _without_source(words: str) -> str:
    """Return what an error of onnxruntime says, without its source lines and signatures."""
    words = " ".join(words.split())
    said = re.split(r" was false\. |\[ONNXRuntimeError\] : \d+ : \w+ : |Impl\(\) const ", words)[-1]
    return re.sub(r"^/\S+\.(cc|h):\d+ ", "", said or words)[:400].rstrip(" .")


def _in_our_names(words: str, prepared: Prepared) -> str:
    """Put the names of the model's tensors for the sent ones."""

    def ours(match: re.Match[str]) -> str:
        tensor = prepared.tensors.get(match[1])
        return match[0] if tensor is None else f"{tensor.name}{match[2] or ''}"

    return re.sub(r"\b(t\d+)(_grad)?\b", ours, words)
