"""torch module -> ONNX, the same way for every model."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import onnx
import torch


def export(
    module: torch.nn.Module,
    shape: Sequence[int],
    names: tuple[str, str],
    *,
    keep_batch_norm: bool = False,
) -> onnx.ModelProto:
    """Return a module as an ONNX model of opset 17 that takes any batch, `N`.

    Args:
        module: In evaluation mode, with one input and one output.
        shape: Of an example input.
        names: Of the model's input and output.
        keep_batch_norm: Leave BatchNormalization nodes, instead of folding them into the
            convolutions before them.
    """
    mode = torch.onnx.TrainingMode
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the older exporter; pinned, works
        torch.onnx.export(
            module,
            (torch.zeros(*shape),),
            file,
            dynamo=False,
            opset_version=17,
            do_constant_folding=not keep_batch_norm,
            training=mode.PRESERVE if keep_batch_norm else mode.EVAL,
            input_names=[names[0]],
            output_names=[names[1]],
            dynamic_axes={name: {0: "N"} for name in names},
        )
    return onnx.load_from_string(file.getvalue())


def deterministic(seed: int) -> None:
    """Make what follows repeatable: seeded, one thread, deterministic kernels."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
