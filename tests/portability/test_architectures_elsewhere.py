"""Every architecture, explained at its last layer and at its input, in the other runtimes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from architectures import ARCHITECTURES
from architectures.export import export
from architectures.weights import calibrated, inputs
from bench import runtimes

from onnxcam.conversion import convert
from onnxcam.errors import UsageError
from onnxcam.model.model import load
from onnxcam.run.session import Session

METHODS = ("gradcam", "saliency")
NO_INPUT_GRADIENT = {"text"}  # its input holds integers
# OpenVINO reads no Scan whose body uses tensors from outside
REFUSED = {("openvino", "sound_lstm"), ("openvino", "sound_gru")}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_explained_architecture_says_the_same_elsewhere(name: str, tmp_path: Path) -> None:
    entry = ARCHITECTURES[name]
    x = inputs(entry, 2)
    plain = export(calibrated(entry.small(), x), x, dynamo=True, feature=False)
    feeds = {plain.graph.input[0].name: x.numpy()}
    np.savez(tmp_path / "feeds.npz", **feeds)
    wanted = {}
    for method in METHODS[: 1 if name in NO_INPUT_GRADIENT else 2]:
        path = tmp_path / f"{method}.onnx"
        convert(plain, path, method=method, opset=20, check=False)
        session = Session(load(path), device="cpu", threads=1)
        wanted[path] = dict(zip(session.outputs, session.run(feeds), strict=True))
    ran = 0
    for runtime in ("ort-oldest", "openvino"):
        try:
            runtimes.interpreter(runtime)
        except UsageError:
            if os.environ.get("ONNXCAM_REQUIRE_RUNTIMES"):
                raise
            continue
        ran += 1
        _compare(runtime, name, wanted, tmp_path)
    if not ran:
        pytest.skip("make the environments with `python tools/envs.py ort-oldest openvino`")


def _compare(
    runtime: str, name: str, wanted: dict[Path, dict[str, np.ndarray]], folder: Path
) -> None:
    jobs = [
        {"model": str(path), "feeds": str(folder / "feeds.npz"), "result": f"{path}.npz"}
        for path in wanted
    ]
    for job, answer, want in zip(jobs, runtimes.run(runtime, jobs), wanted.values(), strict=True):
        what = f"{Path(job['model']).stem} of {name} in {runtime}"
        if (runtime, name) in REFUSED:
            assert "Scan" in answer["error"], what
            continue
        assert not answer["error"], f"{what}: {answer['error']}"
        with np.load(job["result"]) as got:
            for output, values in want.items():
                gap = np.linalg.norm(got[output].astype("f8") - values)
                assert gap <= 1e-3 * np.linalg.norm(values), f"{what}: {output}"
