"""OpenVINO: Recipro-CAM of OpenVINO-XAI, and the model that onnxcam explained."""

from __future__ import annotations

from typing import Any

import openvino as ov

from bench.peers.worker import Calls, Request


def explained_openvino(request: Request) -> Calls:
    """Run onnxcam's file in OpenVINO."""
    run = _compiled(_read(request.explained, request), request)
    x = request.x
    return Calls(lambda: run([x])[1][0, 0], _plain(request))


def recipro_cam(request: Request) -> Calls:
    """Run the model with Recipro-CAM's branch in its graph, which makes maps of all classes."""
    from openvino_xai import Task, insert_xai
    from openvino_xai.common.parameters import Method

    model = insert_xai(
        _read(request.model, request), Task.CLASSIFICATION, explain_method=Method.RECIPROCAM
    )
    run, x = _compiled(model, request), request.x
    return Calls(lambda: run([x])["saliency_map"][0, request.target], _plain(request))


def _plain(request: Request) -> Any:
    run, x = _compiled(_read(request.model, request), request), request.x
    return lambda: run([x])


def _read(path: str, request: Request) -> Any:
    model = ov.Core().read_model(path)
    first = model.inputs[0]
    model.reshape({first.get_any_name(): list(request.x.shape)})
    return model


def _compiled(model: Any, request: Request) -> Any:
    """Compile in float32: OpenVINO would choose a narrower type where the processor has one."""
    options = {
        "INFERENCE_NUM_THREADS": str(request.threads),
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": "1",
    }
    return ov.Core().compile_model(model, "CPU", options)
