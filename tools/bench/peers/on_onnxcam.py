"""onnxcam itself: the explained model, and its Explainer in Python."""

from __future__ import annotations

from bench.peers.worker import Calls, Request, runtime_call


def explained(request: Request) -> Calls:
    """Run the explained model in ONNX Runtime."""
    run = runtime_call(request.explained, request)
    return Calls(lambda: run()[1][0, 0])


def explainer(request: Request) -> Calls:
    """Explain a ready tensor in Python, the map enlarged in NumPy."""
    import onnxcam

    explain = onnxcam.Explainer(request.model, device="cpu", threads=request.threads)
    x = request.x
    return Calls(lambda: explain(x).map)
