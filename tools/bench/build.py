"""What building a gradient graph, or converting a file, costs: seconds and memory.

Measured in a process of its own: run as a program this does one of the two and prints the cost
as JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class BuildCost:
    """What it costs to make a new model from a file.

    Attributes:
        load_s: Seconds to read, check and raise the file; 0 where that is part of the building.
        build_s: Seconds to emit the gradient and to make the new model, or to convert.
        peak_bytes: Most memory that the process held.
        idle_bytes: What it held before, with all libraries imported.
        file_bytes: Size of the file.
    """

    load_s: float
    build_s: float
    peak_bytes: int
    idle_bytes: int
    file_bytes: int

    @property
    def peak_per_file(self) -> float:
        """What building took at its peak, in sizes of the file."""
        return (self.peak_bytes - self.idle_bytes) / self.file_bytes


def build_cost(path: Path, wrt: str, output: str) -> BuildCost:
    """Measure what a gradient costs, in a fresh process.

    Raises:
        RuntimeError: The process failed; its last line says why.
    """
    return _measured("gradient", str(path), wrt, output)


def convert_cost(path: Path, *, check: bool) -> BuildCost:
    """Measure what `onnxcam convert` costs, in a fresh process.

    Args:
        path: The model.
        check: Let it check what it wrote.

    Raises:
        RuntimeError: The process failed; its last line says why.
    """
    with TemporaryDirectory(prefix="bench-", dir=path.parent) as folder:
        output = str(Path(folder) / "explained.onnx")
        return _measured("checked" if check else "convert", str(path), output)


def _measured(what: str, path: str, *arguments: str) -> BuildCost:
    command = [sys.executable, __file__, what, path, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{what} of {path} failed: {last}")
    return BuildCost(**json.loads(done.stdout))


def node_count(model: onnx.ModelProto) -> int:
    """Return the number of nodes of a model with those of its subgraphs, without constants."""
    return _count(model.graph)


def _count(graph: onnx.GraphProto) -> int:
    count = 0
    for node in graph.node:
        count += node.op_type != "Constant"
        count += sum(_count(a.g) for a in node.attribute if a.HasField("g"))
    return count


def _peak() -> int:
    """Return the most bytes that this process has held."""
    if _STATUS.exists():  # Linux: getrusage would count the parent's memory in
        line = next(s for s in _STATUS.read_text().splitlines() if s.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _gradient(path: str, wrt: str, output: str) -> BuildCost:
    from onnxcam.autodiff import vjp_model
    from onnxcam.autodiff.registry import load_rules
    from onnxcam.model.model import load

    load_rules()
    idle, begin = _peak(), time.perf_counter()
    model = load(path)
    loaded = time.perf_counter()
    vjp_model(model, [wrt], [output])
    built = time.perf_counter()
    return BuildCost(loaded - begin, built - loaded, _peak(), idle, Path(path).stat().st_size)


def _convert(path: str, output: str, *, check: bool = False) -> BuildCost:
    import onnxcam
    from onnxcam.autodiff.registry import load_rules
    from onnxcam.run.session import runtime

    load_rules()
    runtime()
    idle, begin = _peak(), time.perf_counter()
    onnxcam.convert(path, output, check=check)
    seconds = time.perf_counter() - begin
    return BuildCost(0.0, seconds, _peak(), idle, Path(path).stat().st_size)


def main(arguments: Sequence[str]) -> None:
    """Do it and print what it cost."""
    what, *rest = arguments
    made: dict[str, Callable[..., BuildCost]] = {
        "gradient": _gradient, "convert": _convert, "checked": partial(_convert, check=True),
    }  # fmt: skip
    cost = made[what](*rest)
    print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main(sys.argv[1:])
