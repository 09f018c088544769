"""ONNX's own node tests as cases for gradients, and what of them cannot be judged, by name.

They come with the onnx package (``onnx.backend.test``), and nobody here wrote them.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto
from onnx.backend.test.loader import load_model_tests
from onnx.reference import ReferenceEvaluator

from onnxcam.autodiff import vjp_model
from support.gradcheck import Report, check_gradient, run, runtime_refuses
from support.node_tensors import as_tensors
from support.runtime import load_error
from support.variants import FLOATS, frozen, symbolic

MODES = ("published", "constant", "symbolic")
NEWEST_IR, NEWEST_OPSET = 13, 27  # that ONNX Runtime 1.31 reads; the newest tests say 14 and 28

Patterns = Mapping[str, Any]

# Floating point inputs that say how, not what; they are asked for by themselves.
AUXILIARY = {"Resize": {1, 2}, "Upsample": {1}}

# Refused for what the node asks, by the operator that the coverage table has a reason for. (All
# that is refused altogether, that table names.)
REFUSED: Patterns = {
    "training_dropout": "Dropout",
    "training_dropout_default": "Dropout",
    "training_dropout_zero_ratio": "Dropout",
    "scan_sum": "Scan",
    "loop16_seq_none": "Loop",
}
# The gradient is built, checked and run, but there is nothing to hold it to.
UNJUDGED: Patterns = {
    "bernoulli*": "random",
    "training_dropout*_mask": "random: its own test holds it to the mask",
    "mod_float_edge_cases_fmod_0*": "0 times infinity",
}

# ONNX Runtime takes these otherwise than the specification's evaluator. All are linear.
OWN_MEANING = (
    "maxunpool_export_with_output_shape",  # the shape that the indices count in
    "resize_downsample_scales_*_align_corners",  # the length before or after it is rounded down
)
# Why ONNX Runtime cannot run a model as it is published: the evaluator alone judges its gradient.
NO_RUNTIME: Patterns = {
    "flexattention*": "it has no such operator",
    "swiglu*": "it has no such operator",
    "attention*window*": "its Attention has no window yet",
    "attention_4d_diff_heads_mask4d_padded_kv": "it wants the mask as long as the keys",
    "roialign*": "it has no kernel of opset 22",
    "causal_conv*": "where its shape is unknown it has no kernel",
    "mod_float*_mixed_sign_fmod_0": "before the newest opset it takes floats with fmod=1 only",
    "affine_grid_*_expanded": "constants make a vector of one of what its Range needs scalar",
    "pow_types_float32_uint*": "it has no kernel for an unsigned exponent",
    "*_batchwise": "it has no recurrent layer of layout 1",
}
# It loads these, but has no kernels for their gradients.
NO_GRADIENT = (  # no arithmetic in bfloat16 on the CPU
    "range_bfloat16*",
    "celu_bfloat16*",  # from 1.32 on: the operator itself, but no Mul
    "einsum_*bfloat16*",  # likewise, but neither Mul nor Expand
)
# What the evaluator computes in single precision needs larger steps.
_SINGLE = {"step": 1e-2, "rtol": 1e-3}
LOOSE: Patterns = {
    "affine_grid*": _SINGLE,
    "*gridsample*": _SINGLE,
    "*deform_conv*": _SINGLE,
    "group_normalization*": _SINGLE,
    "linear_attention*": _SINGLE,
    "causal_conv*": _SINGLE,
}
# Where most of the derivatives do not exist: ties, steps, values that give the output its shape.
KINKED = (
    "hardmax_one_hot*",  # all but one are tied
    "onehot_*",  # depth and indices are floats
    "unique_*",  # values that are the same
)
# Points that lie on a jump, moved off it.
MOVED: Mapping[str, Mapping[str, float]] = {
    "range_*_positive_delta*": {"limit": -0.5},  # (5 - 1) / 2 elements, just so
}


@dataclass(frozen=True)
class NodeCase:
    """A node test.

    Attributes:
        name: As ONNX has it, without the "test_" in front.
        model: The model; sequences and optional values as tensors.
        feeds: Its inputs.
        floats: Its floating point inputs that are differentiated with respect to.
        outputs: Its floating point outputs.
        auxiliary: Its AUXILIARY inputs.
        operators: Its operators, each with its domain.
    """

    name: str
    model: ModelProto
    feeds: Mapping[str, Any]
    floats: tuple[str, ...]
    outputs: tuple[str, ...]
    auxiliary: tuple[str, ...]
    operators: frozenset[tuple[str, str]]

    def check(self, mode: str) -> Report:
        """Check the gradient in one of the MODES.

        published: as it is. constant: all but the first differentiated input are initializers.
        symbolic: every dimension of the floating point inputs is forgotten.

        Raises:
            AssertionError: The gradient is wrong.
            OnnxcamError: It is refused.
        """
        wrt = self._wrt(mode)
        return check_gradient(
            self._model(mode),
            self.feeds,
            wrt=wrt,
            outputs=self.outputs,
            symbolic=mode == "symbolic",
            constant=self._constant(wrt) if mode == "constant" else (),
            runtime=not self.listed(OWN_MEANING),
            minimum=0.0 if self.listed(KINKED) else 0.5,
            **(self.listed(LOOSE) or {}),
        )

    def build(self, mode: str) -> None:
        """Write the gradient and run it: for what cannot be judged."""
        wrt, model = self._wrt(mode), self._model(mode)
        model = symbolic(model) if mode == "symbolic" else model
        constant = self._constant(wrt) if mode == "constant" else ()
        grad = vjp_model(frozen(model, self.feeds, constant), wrt, self.outputs)
        onnx.checker.check_model(grad, full_check=True)
        if not runtime_refuses(model, self.feeds):
            before = run(model, self.feeds, self.outputs)
            cotangents = {f"ct::{name}": np.ones_like(before[name]) for name in self.outputs}
            run(grad, {**self.feeds, **cotangents})

    def check_loads(self, mode: str) -> None:
        """Check that the runtime loads the gradient of what it loads, where nothing can feed it."""
        model = self._model(mode)
        model = symbolic(model) if mode == "symbolic" else model
        if not load_error(model):
            error = load_error(vjp_model(model, self._wrt(mode), self.outputs))
            assert not error or self.listed(NO_GRADIENT), (
                f"ONNX Runtime loads the model, but not its gradient: {error}"
            )

    def no_runtime(self, mode: str) -> str:
        """Return why ONNX Runtime cannot run the model, "" where it can."""
        if any(t.dtype.isbuiltin != 1 for t in self.feeds.values() if isinstance(t, np.ndarray)):
            return "NumPy has no such floats to feed"
        kinds = {o.type.tensor_type.elem_type for o in self.model.graph.output}
        if TensorProto.BFLOAT16 in kinds:
            return "NumPy has no such floats to return"
        if self._model(mode).opset_import[0].version > NEWEST_OPSET:
            return "its opset is newer"
        return str(self.listed(NO_RUNTIME) or "")

    def _wrt(self, mode: str) -> tuple[str, ...]:
        return self.floats[:1] if mode == "constant" else self.floats

    def _model(self, mode: str) -> ModelProto:
        """Return the model; for the ways other than published at an opset that the runtime has.

        The newest opset admits more dtypes for most of its operators, which mean the same.
        """
        if mode == "published" or self.model.opset_import[0].version <= NEWEST_OPSET:
            return self.model
        older = ModelProto()
        older.CopyFrom(self.model)
        older.opset_import[0].version = NEWEST_OPSET
        try:
            onnx.checker.check_model(older, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
            return self.model
        return older

    def _constant(self, wrt: Sequence[str]) -> set[str]:
        return {k for k, v in self.feeds.items() if isinstance(v, np.ndarray)} - set(wrt)

    def listed(self, table: Any) -> Any:
        """Return what a table says of this case, None where it has no entry."""
        found = [p for p in table if fnmatch(self.name, p)]
        return (table[found[0]] if isinstance(table, Mapping) else True) if found else None

    def check_own_meaning(self, mode: str) -> None:
        """Check the gradient against the runtime's own differences, for a linear operator."""
        model = symbolic(self.model) if mode == "symbolic" else self.model
        (x,), (y,) = self.floats, self.outputs
        before = run(model, self.feeds)[y]
        told = ReferenceEvaluator(model).run([y], dict(self.feeds))[0]
        assert np.abs(before - told).max() > 1e-3, "ONNX Runtime means the same now: unlist it"
        ct = np.random.default_rng(0).integers(-8, 9, before.shape).astype(before.dtype)
        grad = run(vjp_model(model, [x], [y]), {**self.feeds, f"ct::{y}": ct})[f"grad::{x}"]
        want = np.zeros(grad.shape)
        for where in np.ndindex(*want.shape):
            moved = self.feeds[x].copy()
            moved[where] += 1
            want[where] = ((run(model, {**self.feeds, x: moved})[y] - before) * ct).sum()
        np.testing.assert_allclose(grad, want, rtol=0, atol=1e-4 * np.abs(want).max())


@functools.cache
def published() -> list[Any]:
    """Return every node test, as ONNX's loader gives it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(load_model_tests(kind="node"))


@functools.cache
def all_cases() -> list[NodeCase]:
    """Return every node test, those included that have no floating point input or output."""
    return [_case(test) for test in published()]


def node_cases() -> dict[str, NodeCase]:
    """Return the node tests with floating point inputs and outputs, by name."""
    return {case.name: case for case in all_cases() if case.floats and case.outputs}


def _case(test: Any) -> NodeCase:
    name, graph = test.name.removeprefix("test_"), test.model.graph
    values = {i.name: _value(v) for i, v in zip(graph.input, test.data_sets[0][0], strict=False)}
    test.model.ir_version = min(test.model.ir_version, NEWEST_IR)
    model, feeds = as_tensors(test.model, values)
    for pattern, moves in MOVED.items():
        for x, offset in moves.items() if fnmatch(name, pattern) else ():
            feeds[x] = np.asarray(feeds[x] + offset, feeds[x].dtype)
    auxiliary = [x for node in graph.node for x in _auxiliary(node)]
    floats = [i.name for i in model.graph.input if _is_float(i) and i.name not in auxiliary]
    outputs = [o.name for o in model.graph.output if _is_float(o)]
    operators = frozenset((n.domain, n.op_type) for n in graph.node)
    given = tuple(name for name in auxiliary if name in feeds)
    return NodeCase(name, model, feeds, tuple(floats), tuple(outputs), given, operators)


def _auxiliary(node: onnx.NodeProto) -> Iterator[str]:
    for place in AUXILIARY.get(node.op_type, ()):
        if place < len(node.input):
            yield node.input[place]


def _is_float(info: onnx.ValueInfoProto) -> bool:
    return info.type.HasField("tensor_type") and info.type.tensor_type.elem_type in FLOATS


def _value(value: Any) -> Any:
    if isinstance(value, TensorProto):
        return onnx.numpy_helper.to_array(value)
    return value if isinstance(value, list) or value is None else np.asarray(value)
