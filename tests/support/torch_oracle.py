"""Run an ONNX file with torch operators: an oracle that shares no code with onnxcam.

It reads the original file (no version conversion) and knows what the image classifiers of the
test data need. Gradients are torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch.nn import functional as F  # noqa: N812 - torch's own habit

Values = dict[str, Any]


def evaluate(
    model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], *, leaf: str | None = None
) -> dict[str, torch.Tensor]:
    """Return every tensor of the model.

    Args:
        model: The model as it was exported.
        feeds: Inputs.
        leaf: A tensor that starts its own autograd graph.
    """
    values: Values = {"": None}
    for tensor in model.graph.initializer:
        values[tensor.name] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    for name, array in feeds.items():
        values[name] = torch.from_numpy(array)
    opset = model.opset_import[0].version
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        out = _OPS[node.op_type](
            *(values[i] for i in node.input), n=len(node.output), opset=opset, **attributes
        )
        for name, value in zip(
            node.output, out if isinstance(out, tuple) else (out,), strict=False
        ):
            values[name] = value.detach().requires_grad_() if name == leaf else value
    return values


def gradcam(
    model: onnx.ModelProto,
    feeds: Mapping[str, np.ndarray],
    *,
    feature: str,
    score: str,
    target: int,
    channel: int = 1,
) -> np.ndarray:
    """Return Grad-CAM before its ReLU by its definition, [N, ...space], with torch's autograd."""
    values = evaluate(model, feeds, leaf=feature)
    z, a = values[score], values[feature]
    (da,) = torch.autograd.grad(z.reshape(len(z), -1)[:, target].sum(), a)
    a, da = (t.detach().double().movedim(channel, 1) for t in (a, da))
    alpha = da.flatten(2).mean(2)
    return torch.einsum("nk,nk...->n...", alpha, a).numpy()


def _pads(pads: list[int] | None, auto_pad: bytes, x: Any, k: Any, s: Any, d: Any) -> list[int]:
    space = len(k)
    if auto_pad in (b"SAME_UPPER", b"SAME_LOWER"):
        both = []
        for i in range(space):
            size = x.shape[2 + i]
            total = max((-(-size // s[i]) - 1) * s[i] + (k[i] - 1) * d[i] + 1 - size, 0)
            small, large = total // 2, total - total // 2
            both.append((small, large) if auto_pad == b"SAME_UPPER" else (large, small))
        return [p for pair in reversed(both) for p in pair]
    pads = pads or [0] * 2 * space
    return [p for i in reversed(range(space)) for p in (pads[i], pads[i + space])]


def _conv(x: Any, w: Any, b: Any = None, **a: Any) -> Any:
    k = list(w.shape[2:])
    s, d = a.get("strides", [1] * len(k)), a.get("dilations", [1] * len(k))
    x = F.pad(x, _pads(a.get("pads"), a.get("auto_pad", b"NOTSET"), x, k, s, d))
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(k)]
    return conv(x, w, b, stride=s, dilation=d, groups=a.get("group", 1))


def _max_pool(x: Any, *, kernel_shape: list[int], **a: Any) -> Any:
    s = a.get("strides", [1] * len(kernel_shape))
    pads = _pads(a.get("pads"), a.get("auto_pad", b"NOTSET"), x, kernel_shape, s, [1] * len(s))
    if a.get("ceil_mode"):
        assert not any(pads)
        return F.max_pool2d(x, kernel_shape, s, ceil_mode=True)
    return F.max_pool2d(F.pad(x, pads, value=-torch.inf), kernel_shape, s)


def _average_pool(x: Any, *, kernel_shape: list[int], **a: Any) -> Any:
    assert not any(a.get("pads", [0]))
    return F.avg_pool2d(x, kernel_shape, a.get("strides"))


def _reduce_mean(x: Any, axes: Any = None, *, keepdims: int = 1, **a: Any) -> Any:
    return x.mean(tuple(a.get("axes") or axes.tolist()), keepdim=bool(keepdims))


def _clip(x: Any, low: Any = None, high: Any = None, **a: Any) -> Any:
    low, high = a.get("min", low), a.get("max", high)
    return torch.clamp(x, low, high)


def _gemm(x: Any, w: Any, c: Any = None, **a: Any) -> Any:
    x = x.T if a.get("transA") else x
    w = w.T if a.get("transB") else w
    y = a.get("alpha", 1.0) * x @ w
    return y if c is None else y + a.get("beta", 1.0) * c


def _batch_norm(x: Any, scale: Any, bias: Any, mean: Any, var: Any, **a: Any) -> Any:
    return F.batch_norm(x, mean, var, scale, bias, eps=a.get("epsilon", 1e-5))


def _reshape(x: Any, shape: Any = None, **a: Any) -> Any:
    sizes = a.get("shape") or shape.tolist()
    return x.reshape(tuple(x.shape[i] if s == 0 else s for i, s in enumerate(sizes)))


def _softmax(x: Any, *, opset: int, **a: Any) -> Any:
    if opset >= 13:
        return x.softmax(a.get("axis", -1))
    return x.flatten(a.get("axis", 1)).softmax(-1).reshape(x.shape)


def _squeeze(x: Any, axes: Any = None, **a: Any) -> Any:
    for axis in sorted((i % x.ndim for i in (a.get("axes") or axes.tolist())), reverse=True):
        x = x.squeeze(axis)
    return x


def _pad(x: Any, pads: Any = None, value: Any = None, **a: Any) -> Any:
    pads = a.get("pads") or pads.tolist()
    rank = x.ndim
    flat = [p for i in reversed(range(rank)) for p in (pads[i], pads[i + rank])]
    return F.pad(x, flat, value=0 if value is None else float(value.reshape(())))


def _slice(x: Any, starts: Any, ends: Any, axes: Any, steps: Any = None, **_: Any) -> Any:
    spec = [slice(None)] * x.ndim
    steps = [1] * len(axes) if steps is None else steps.tolist()
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = x.shape[int(axis)]
        spec[int(axis)] = slice(*slice(int(start), int(end), step).indices(size))
        if step < 0:
            keep = list(range(*slice(int(start), int(end), step).indices(size)))
            return torch.index_select(x, int(axis), torch.tensor(keep))
    return x[tuple(spec)]


def _filled(shape: Any, **a: Any) -> Any:
    value = numpy_helper.to_array(a["value"]) if "value" in a else np.zeros(1, "f4")
    return torch.from_numpy(np.full(shape.tolist(), value))


def _constant(**a: Any) -> Any:
    return torch.from_numpy(numpy_helper.to_array(a["value"]).copy())


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *inputs, **_: function(*inputs)


_OPS: dict[str, Callable[..., Any]] = {
    "Add": _plain(torch.add),
    "Sub": _plain(torch.sub),
    "Mul": _plain(torch.mul),
    "Div": _plain(torch.div),
    "MatMul": _plain(torch.matmul),
    "Relu": _plain(torch.relu),
    "Sigmoid": _plain(torch.sigmoid),
    "Identity": _plain(lambda x: x),
    "Dropout": _plain(lambda x, *_: x),
    "GlobalAveragePool": _plain(lambda x: x.mean(tuple(range(2, x.ndim)), keepdim=True)),
    "Flatten": lambda x, *, axis=1, **_: x.reshape(int(np.prod(x.shape[:axis])), -1),
    "Transpose": lambda x, *, perm, **_: x.permute(perm),
    "Concat": lambda *xs, axis, **_: torch.cat(xs, axis),
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Slice": _slice,
    "Shape": lambda x, *, start=0, end=None, **_: torch.tensor(x.shape[start:end]),
    "Gather": lambda x, i, *, axis=0, **_: x[(slice(None),) * axis + (i,)],
    "Unsqueeze": lambda x, axes=None, **a: x.unsqueeze(*(a.get("axes") or axes.tolist())),
    "Cast": lambda x, *, to, **_: x.to(_dtype(to)),
    "Conv": _conv,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "ReduceMean": _reduce_mean,
    "Clip": _clip,
    "Gemm": _gemm,
    "BatchNormalization": _batch_norm,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Squeeze": _squeeze,
    "Pad": _pad,
}


def _dtype(number: int) -> torch.dtype:
    return torch.from_numpy(np.zeros(1, helper.tensor_dtype_to_np_dtype(number))).dtype
