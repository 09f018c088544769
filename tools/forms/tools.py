"""Forms that other tools write: half precision, quantised, simplified, optimised."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from forms.sources import Source

Array = np.ndarray[Any, Any]


def fp16_converter_common(source: Source) -> ModelProto:
    """By onnxconverter-common, inputs and outputs too."""
    from onnxconverter_common import float16

    model: ModelProto = float16.convert_float_to_float16(_model(source))
    return model


def fp16_kept_io(source: Source) -> ModelProto:
    """By onnxconverter-common, inputs and outputs as they were."""
    from onnxconverter_common import float16

    model: ModelProto = float16.convert_float_to_float16(_model(source), keep_io_types=True)
    return model


def fp16_transformers(source: Source) -> ModelProto:
    """By onnxruntime.transformers."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model: ModelProto = convert_float_to_float16(_model(source), keep_io_types=True)
    return model


def fp16_onnxmltools(source: Source) -> ModelProto:
    """By onnxmltools."""
    from onnxmltools.utils import convert_float_to_float16

    model: ModelProto = convert_float_to_float16(_model(source))
    return model


def auto_mixed(source: Source) -> ModelProto:
    """By onnxconverter-common: half precision only where the outputs stay near."""
    from onnxconverter_common import auto_mixed_precision

    model: ModelProto = auto_mixed_precision.auto_convert_mixed_precision(
        _model(source), source.feeds, rtol=0.05, atol=0.05, keep_io_types=True
    )
    return model


def dynamic_int8(source: Source, path: Path) -> None:
    """By onnxruntime.quantization: weights in int8, activations as they come."""
    with tempfile.TemporaryDirectory() as folder:
        quantize_dynamic(str(_ready(source, folder)), str(path), weight_type=QuantType.QUInt8)


def static(
    form: QuantFormat, activation: QuantType, weight: QuantType, per_channel: bool
) -> Callable[[Source, Path], None]:
    """Return what quantises a file by onnxruntime.quantization, calibrated on pictures."""

    def quantise(source: Source, path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            quantize_static(
                str(_ready(source, folder)), str(path), _Pictures(source), quant_format=form,
                activation_type=activation, weight_type=weight, per_channel=per_channel,
            )  # fmt: skip

    return quantise


def simplified(source: Source) -> ModelProto:
    """By onnxsim."""
    import onnxsim

    model, fine = onnxsim.simplify(_model(source))
    if not fine:
        raise RuntimeError("onnxsim's own check failed")
    return model


def slimmed(source: Source) -> ModelProto:
    """By onnxslim."""
    import onnxslim

    model: ModelProto = onnxslim.slim(_model(source))
    return model


def optimised(level: str) -> Callable[[Source, Path], None]:
    """Return what lets ONNX Runtime write its own optimised file."""

    def write(source: Source, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(
            onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level.upper()}"
        )
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(source.path), options, providers=["CPUExecutionProvider"])

    return write


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Feeds the input and its like."""

    def __init__(self, source: Source) -> None:
        random = np.random.default_rng(0)
        self._feeds = iter(
            [source.feeds]
            + [
                {k: (v + 0.3 * random.normal(size=v.shape)).astype(v.dtype) for k, v in f.items()}
                for f in [source.feeds] * 4
            ]
        )

    def get_next(self) -> dict[str, Array] | None:
        """Return the next feeds, None behind the last."""
        return next(self._feeds, None)


def _ready(source: Source, folder: str) -> Path:
    """Return the file as the quantiser's own documents want it: with shapes, and optimised."""
    path = Path(folder) / "ready.onnx"
    try:
        quant_pre_process(str(source.path), str(path), skip_symbolic_shape=True)
    except Exception:  # noqa: BLE001  # another library's
        return source.path
    return path


def _model(source: Source) -> ModelProto:
    return onnx.load(str(source.path))
