"""A model that ONNX Runtime refuses is said to be that, and no fault of onnxcam."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support import nets

import onnxcam
from onnxcam.errors import InputError, InternalError, ModelError
from onnxcam.graph.emit import proto_shape
from onnxcam.model.model import load
from onnxcam.run.refusal import answering, refusal


def image() -> np.ndarray:
    port = load(nets.cnn()).inputs[0]
    shape = [d if isinstance(d, int) else 1 for d in port.shape or ()]
    return np.ones(shape, np.float32)


def contradicting(bias: int, weight: int) -> onnx.ModelProto:
    """Return a small classifier whose last layer does not fit to what comes before it."""
    model = nets.cnn()
    tensors = {t.name: t for t in model.graph.initializer}
    last = next(n for n in reversed(model.graph.node) if n.op_type in ("Gemm", "MatMul"))
    first = tensors[last.input[1]]
    sizes = [first.dims[0] + weight, *first.dims[1:]]
    count = sizes[0] * sizes[1]
    first.CopyFrom(helper.make_tensor(first.name, TensorProto.FLOAT, sizes, [0.1] * count))
    if len(last.input) > 2:
        second = tensors[last.input[2]]
        size = second.dims[0] + bias
        second.CopyFrom(helper.make_tensor(second.name, TensorProto.FLOAT, [size], [0.1] * size))
    return model


@pytest.mark.parametrize(("bias", "weight"), [(0, 3), (2, 0), (5, 2)])
def test_shapes_that_do_not_meet_are_the_models_fault(
    bias: int, weight: int, tmp_path: Path
) -> None:
    data = contradicting(bias, weight).SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for source in (data, path):
        for work in (
            lambda s=source: onnxcam.Explainer(s, device="cpu", cache=False)(image()),
            lambda s=source: onnxcam.convert(s),
        ):
            with pytest.raises((ModelError, InputError)) as error:
                work()
            assert not isinstance(error.value, InternalError)
            assert "report" not in str(error.value)


def test_a_fault_of_ours_stays_one() -> None:
    model = load(nets.cnn())
    assert refusal(model) is None
    with pytest.raises(InternalError, match="lease report"), answering("it fails", model):
        proto_shape(None)  # type: ignore[arg-type]


def test_what_ours_says_is_kept_as_the_cause() -> None:
    model = load(contradicting(2, 0).SerializeToString())
    with pytest.raises(ModelError, match="ONNX Runtime") as error, answering("it fails", model):
        proto_shape(None)  # type: ignore[arg-type]
    assert isinstance(error.value.__cause__, InternalError)
