"""Which tools are compared, and what they are installed with."""

from __future__ import annotations

from dataclasses import dataclass

from bench.peers.environments import Environment

_RUNTIME = "onnxruntime==1.31.1"
TORCH = Environment(
    "torch",
    # one CPU build of torch serves everywhere; there is none of torchvision
    ("torch==2.13.0", "onnx==1.23.2", "scikit-learn", "matplotlib", "tqdm",
     "opencv-python-headless", _RUNTIME),
    ("grad-cam==1.5.7", "captum==0.9.0", "onnx2torch==1.5.15", "ttach==0.0.3",
     "torchvision==0.28.0"),
    "import torch, captum.attr",
)  # fmt: skip
OPENVINO = Environment(
    "openvino",
    ("openvino==2025.4.1", "scipy", "matplotlib", "tqdm", "opencv-python-headless", _RUNTIME),
    ("openvino-xai==1.1.0",),
    "import openvino_xai",
)
DIANNA = Environment(
    "dianna",
    ("scikit-learn", "scikit-image", "xarray", "tqdm", "onnx==1.23.2", _RUNTIME),
    ("dianna==1.8.1",),
    "import dianna.methods.rise_image",
)
PACKAGES = ("onnxruntime", "torch", "grad-cam", "captum", "onnx2torch", "openvino",
            "openvino-xai", "dianna", "numpy")  # fmt: skip


@dataclass(frozen=True)
class Peer:
    """A way to explain.

    Attributes:
        name: Short name, for the command line.
        label: For tables and plots.
        module: Module of this package that knows it, with a function of its name ("-" is "_").
        environment: Where it runs; None: where onnxcam is.
        same: It makes Grad-CAM's map of the same layer and class, so the maps can be compared.
        slow: It takes many hundred times as long as plain inference: two rounds must do.
        limit: The most that it may cost against plain inference of its own framework.
    """

    name: str
    label: str
    module: str
    environment: Environment | None
    same: bool = True
    slow: bool = False
    limit: float | None = None


PEERS = (
    Peer("explained", "onnxcam: explained model", "on_onnxcam", None),
    Peer("explainer", "onnxcam: Explainer in Python", "on_onnxcam", None),
    Peer("explained-openvino", "onnxcam: explained model, in OpenVINO", "on_openvino", OPENVINO,
         limit=1.05),
    Peer("recipro-cam", "OpenVINO-XAI: Recipro-CAM", "on_openvino", OPENVINO, same=False),
    Peer("tuned", "torch: Grad-CAM, tuned", "on_torch", TORCH),
    Peer("captum", "Captum: LayerGradCam", "on_torch", TORCH),
    Peer("grad-cam", "pytorch-grad-cam", "on_torch", TORCH),
    Peer("onnx2torch", "pytorch-grad-cam, by onnx2torch", "on_torch", TORCH),
    Peer("rise", "DIANNA: RISE", "on_dianna", DIANNA, same=False, slow=True),
)  # fmt: skip
