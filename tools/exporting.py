"""Torch's two exporters, without their talk."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

INPUT, OUTPUT = "input", "output"


def write(
    net: nn.Module,
    x: Tensor,
    path: Path,
    *,
    dynamo: bool,
    outputs: Sequence[str] = (OUTPUT,),
    dynamic: bool = True,
    opset: int | None = None,
) -> None:
    """Write a network as a file with the input ``input``.

    Args:
        net: The network.
        x: An input; a batch of 2 or more where it is to stay open: exporters take 1 for a constant.
        path: The file.
        dynamo: By torch's new exporter, else by TorchScript.
        outputs: Names of what it returns.
        dynamic: Leave the batch open.
        opset: Version of the operators; None is the exporter's own.
    """
    with quiet(), torch.no_grad():
        if dynamo:
            shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
            torch.onnx.export(
                net, (x,), str(path), dynamo=True, input_names=[INPUT], output_names=[*outputs],
                dynamic_shapes=shapes, opset_version=opset, verbose=False, external_data=False,
            )  # fmt: skip
            return
        axes = {name: {0: "batch"} for name in (INPUT, *outputs)} if dynamic else None
        torch.onnx.export(
            net, (x,), str(path), dynamo=False, input_names=[INPUT], output_names=[*outputs],
            dynamic_axes=axes, opset_version=opset,
        )  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """Keep libraries and exporters from talking: they warn of their own deprecations."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
