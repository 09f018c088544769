"""DIANNA: RISE with its own settings."""

from __future__ import annotations

import contextlib
import io

import numpy as np

from bench.peers.worker import Array, Calls, Request


def rise(request: Request) -> Calls:
    """RISE as it comes: 1000 masks, and 900 to choose how much a mask keeps."""
    import dianna
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = request.threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(request.model, options, providers=["CPUExecutionProvider"])
    name, x = session.get_inputs()[0].name, request.x

    def predict(batch: Array) -> Array:
        found: Array = session.run(None, {name: batch.astype(np.float32)})[0]
        return found

    def explain() -> Array:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            found: Array = dianna.explain_image(predict, x[0], "RISE", [request.target])
        return found[0]

    return Calls(explain)
