"""Run or time ONNX models in one runtime; works in any Python that has the runtime and NumPy.

    python runtime_worker.py run RUNTIME < jobs.json
    python runtime_worker.py time RUNTIME < job.json

RUNTIME is onnxruntime, openvino or reference (onnx's own evaluator). A job to run names files:
{"model": ONNX, "feeds": NPZ, "result": NPZ to write}; the answer, as JSON, is for every job its
error ("" for none) and the inputs that the runtime takes. A job to time is {"plain": ONNX, "other":
ONNX, "feeds": NPZ, "runs": N, "warmup": N, "clock": "wall" or "cpu"}; the answer has the seconds of
every call. One thread.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Run = Callable[[Mapping[str, Any]], dict[str, Any]]


def onnxruntime(path: str) -> tuple[list[str], Run]:
    """Load a model into ONNX Runtime; returns the names of its inputs and what runs it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    inputs = [i.name for i in [*session.get_inputs(), *session.get_overridable_initializers()]]
    return inputs, lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))


def openvino(path: str) -> tuple[list[str], Run]:
    """Load a model into OpenVINO's CPU device, in float32 as the others compute."""
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(ov.Core().read_model(path), "CPU", settings)
    names = [o.get_any_name() for o in compiled.outputs]
    request = compiled.create_infer_request()

    def run(feeds: Mapping[str, Any]) -> dict[str, Any]:
        results = request.infer(dict(feeds), share_inputs=True, share_outputs=True)
        return {name: results[name] for name in names}

    return [i.get_any_name() for i in compiled.inputs], run


def reference(path: str) -> tuple[list[str], Run]:
    """Load a model into onnx's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(path)
    names = list(evaluator.output_names)
    given = list(evaluator.input_names)
    return given, lambda feeds: dict(zip(names, evaluator.run(names, dict(feeds)), strict=True))


LOADERS = {"onnxruntime": onnxruntime, "openvino": openvino, "reference": reference}


def run(runtime: str, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run every job; one that fails does not stop the others."""
    answers = []
    for job in jobs:
        inputs: list[str] = []
        error = ""
        try:
            inputs, call = LOADERS[runtime](job["model"])
            with np.load(job["feeds"]) as feeds:
                results = call({k: feeds[k] for k in feeds.files})
            np.savez(job["result"], **results)
        except Exception as failure:  # noqa: BLE001 - every runtime has errors of its own
            error = f"{type(failure).__name__}: {' '.join(str(failure).split())[:500]}"
        answers.append({"inputs": inputs, "error": error})
    return answers


def measure(runtime: str, job: dict[str, Any]) -> dict[str, Any]:
    """Time the runs of two models in pairs; returns seconds under "plain" and "other"."""
    from timing import CLOCKS, interleaved  # the file beside this one

    _, plain = LOADERS[runtime](job["plain"])
    _, other = LOADERS[runtime](job["other"])
    with np.load(job["feeds"]) as archive:
        feeds = {k: archive[k] for k in archive.files}
    times = interleaved(
        lambda: plain(feeds),
        lambda: other(feeds),
        runs=job["runs"],
        warmup=job["warmup"],
        clock=CLOCKS[job["clock"]],
    )
    return {"plain": times[0].tolist(), "other": times[1].tolist()}


def main() -> None:
    """Read the job, do it, print the answer as the last line."""
    _, command, runtime = sys.argv
    job = json.load(sys.stdin)
    answer = run(runtime, job) if command == "run" else measure(runtime, job)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
