"""Networks as ONNX models, by both of torch's exporters, the batch dynamic."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

INPUT, OUTPUT, FEATURE = "input", "output", "feature"


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
    with _quiet():
        if dynamo:
            shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
            program = torch.onnx.export(
                net, (x,), dynamo=True, input_names=[INPUT], output_names=outputs,
                dynamic_shapes=shapes, verbose=False,
            )  # fmt: skip
            return program.model_proto
        data = io.BytesIO()
        axes = {name: {0: "batch"} for name in (INPUT, *outputs) if dynamic}
        torch.onnx.export(
            net, (x,), data, dynamo=False, input_names=[INPUT], output_names=outputs,
            dynamic_axes=axes,
        )  # fmt: skip
        return onnx.load_from_string(data.getvalue())


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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters from talking: they warn of their own deprecations."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
