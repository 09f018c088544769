"""What building a gradient graph costs: seconds and memory, measured in a process of its own.

Run as a program it builds one gradient and prints the cost as JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class BuildCost:
    """What it costs to read a file and to write a gradient into its graph.

    Attributes:
        load_s: Seconds to read, check and raise the file.
        build_s: Seconds to emit the gradient and to make the new model.
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
    """Measure it in a fresh process.

    Raises:
        RuntimeError: The process failed; its last line says why.
    """
    command = [sys.executable, __file__, str(path), wrt, output]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"building the gradient of {path} failed: {last}")
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


def main(arguments: Sequence[str]) -> None:
    """Build and print."""
    from onnxcam.autodiff import vjp_model
    from onnxcam.autodiff.registry import load_rules
    from onnxcam.model import load

    path, wrt, output = arguments
    load_rules()
    idle, begin = _peak(), time.perf_counter()
    model = load(path)
    loaded = time.perf_counter()
    vjp_model(model, [wrt], [output])
    built = time.perf_counter()
    size = Path(path).stat().st_size
    cost = BuildCost(loaded - begin, built - loaded, _peak(), idle, size)
    print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main(sys.argv[1:])
