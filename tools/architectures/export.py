"""Networks as ONNX models, by both of torch's exporters, the batch dynamic."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from exporting import INPUT, OUTPUT, write
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

__all__ = ["FEATURE", "INPUT", "OUTPUT", "export", "shared_weight"]

FEATURE = "feature"


def export(
    net: nn.Module, x: Tensor, *, dynamo: bool, feature: bool = True, dynamic: bool = True
) -> ModelProto:
    """Return the network as a model: ``input`` -> ``output`` and ``feature``.

    Args:
        net: A network that returns (output, feature).
        x: An input; a batch of 2 or more, since exporters take 1 for a constant.
        dynamo: By torch's new exporter, else by TorchScript.
        feature: Keep the second output.
        dynamic: Leave the batch open.
    """
    outputs = [OUTPUT, FEATURE] if feature else [OUTPUT]
    net = net if feature else _OutputOnly(net).eval()
    with TemporaryDirectory(prefix="export-") as folder:
        path = Path(folder) / "net.onnx"
        write(net, x, path, dynamo=dynamo, outputs=outputs, dynamic=dynamic)
        return onnx.load(str(path))


def shared_weight(model: ModelProto, net: nn.Module) -> str:
    """Return the first floating point weight that has name and value in network and model."""
    known = {t.name: t for t in model.graph.initializer}
    for name, parameter in net.named_parameters():
        if name in known and parameter.dim() > 1:
            value = numpy_helper.to_array(known[name])
            if np.array_equal(value, parameter.detach().numpy()):
                return name
    raise LookupError("the exporter has renamed or folded every weight")


class _OutputOnly(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0]
