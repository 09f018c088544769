"""Hold that an Explainer is steady: threads agree, and neither memory nor descriptors grow.

    python tools/steady.py
    python tools/steady.py --model models/squeezenet1.1.onnx --explanations 500 --creations 20

Eight threads share one Explainer and must get the same bits; then one explains, and others are
made, many times. The last half of the time is what counts: caches fill in the first.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxcam import Explainer

THREADS = 8
GROWTH = 8.0  # megabytes that the second half may add: allocators keep a few pages


def alike(explainer: Explainer[Any], inputs: list[Any]) -> bool:
    """Tell whether eight threads get the maps of one, bit for bit."""
    want = [explainer(x).raw_map for x in inputs]

    def work(k: int) -> bool:
        order = np.random.default_rng(k).permutation(len(inputs))
        return all(np.array_equal(explainer(inputs[i]).raw_map, want[i]) for i in order)

    with ThreadPoolExecutor(THREADS) as pool:
        return all(pool.map(work, range(THREADS)))


def grown(work: Callable[[], object], times: int) -> tuple[float, int]:
    """Return by how many megabytes and descriptors a process grows in the second half of a work."""
    for _ in range(times // 2):
        work()
    before = _state()
    for _ in range(times - times // 2):
        work()
    after = _state()
    return after[0] - before[0], after[1] - before[1]


def _state() -> tuple[float, int]:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd"))


def _model(folder: str) -> Path:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from support import nets

    onnx.save(nets.cnn(channels=8), os.path.join(folder, "m.onnx"))
    return Path(folder, "m.onnx")


def main() -> None:
    """Run it from the shell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--explanations", type=int, default=5000)
    parser.add_argument("--creations", type=int, default=500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or _model(folder)
        made: Explainer[Any] = Explainer(model, device="cpu", threads=1)
        shape = [n if isinstance(n, int) else 1 for n in made.input.shape or ()]
        rng = np.random.default_rng(0)
        inputs = [rng.random(shape, np.float32) for _ in range(6)]
        same = alike(made, inputs)
        one = grown(lambda: made(inputs[0]), args.explanations)
        other = grown(lambda: Explainer(model, device="cpu", threads=1)(inputs[0]), args.creations)
    sys.stdout.write(f"{THREADS} threads: {'bit for bit' if same else 'DIFFERENT'}\n")
    for said, times, (memory, files) in (
        ("explanations", args.explanations, one), ("creations", args.creations, other),
    ):  # fmt: skip
        sys.stdout.write(f"{times} {said}: {memory:+.1f} MB, {files:+d} descriptors\n")
    flat = all(memory <= GROWTH and files <= 0 for memory, files in (one, other))
    sys.exit(0 if same and flat else 1)


if __name__ == "__main__":
    main()
