"""What an explanation costs: the explained file beside the plain one."""

from __future__ import annotations

from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import onnxruntime
from bench.timing import interleaved, ratio

import onnxcam
from survey.networks import Subject, pictures

LEAST = 1.0  # milliseconds: below them only calls are measured


def measured(
    plain: onnxruntime.InferenceSession, explained: onnxruntime.InferenceSession, feeds: Any
) -> tuple[float, float | None]:
    """Return the plain file's milliseconds, and explained / plain where they are over 1.

    Both take turns, and processor time is counted: another process's does not matter. The ratio
    is the smaller of the median of pairs and the quotient of the quickest runs.
    """
    times = interleaved(
        lambda: plain.run(None, feeds), lambda: explained.run(None, feeds),
        runs=21, warmup=2, clock=process_time,
    )  # fmt: skip
    quickest = times.min(axis=1)
    milliseconds = float(quickest[0]) * 1000
    if milliseconds <= LEAST:
        return milliseconds, None
    quotient = min(ratio(times[0], times[1]).median, quickest[1] / quickest[0])
    return milliseconds, round(float(quotient), 3)


def of_file(path: Path, subject: Subject) -> tuple[float, float | None]:
    """Measure a file by itself, without the network that it was made of.

    Raises:
        OnnxcamError: It cannot be explained.
    """
    x = pictures(subject.shape, 1, seed=11).numpy().astype(np.float32)
    conversion = onnxcam.convert(str(path), check=False)
    one, two = _session(str(path)), _session(conversion.proto.SerializeToString())
    return measured(one, two, {one.get_inputs()[0].name: x})


def _session(model: str | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
