"""``check_gradient``: an emitted gradient against central differences, and in ONNX Runtime.

Three parties: central differences of the forward model in double (ONNX's reference evaluator),
the emitted gradient in double (the same evaluator), the emitted gradient in the model's own dtype
(ONNX Runtime, one thread).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper
from onnx.reference import ReferenceEvaluator

from onnxcam.autodiff import vjp_model
from onnxcam.model.model import Model
from onnxcam.model.weights import Weights
from support.reference_ops import BETTER_OPS
from support.runtime import run, runtime_refuses
from support.variants import FLOATS, array_in_double, frozen, in_double
from support.variants import symbolic as forget_shapes

__all__ = ["Report", "check_gradient", "run", "runtime_refuses"]

# Relative to the largest entry: what one short chain of operators loses in each dtype.
TOLERANCE = {"float64": 1e-7, "float32": 2e-4, "float16": 2e-2, "bfloat16": 1e-1}
ROUNDING = {"float64": 1e-5, "float32": 1e-5, "float16": 5e-3, "bfloat16": 4e-2}
_QUARTERS = np.delete(np.arange(-8, 9), 8) / 4
COORDINATES, DIRECTIONS = 40, 2  # of each input, where it has more elements than that
Arrays = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What was compared.

    Attributes:
        compared: Derivatives (along a coordinate or a direction) that were compared.
        skipped: Those at a kink, a jump or a pole: one-sided differences disagree.
        runtime: Whether ONNX Runtime ran the model (it has no kernel for some).
    """

    compared: int
    skipped: int
    runtime: bool


def check_gradient(
    model: ModelProto,
    feeds: Mapping[str, Any],
    *,
    wrt: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    symbolic: bool = False,
    constant: Collection[str] = (),
    keep_opset: bool = False,
    step: float = 1e-5,
    rtol: float | None = None,
    runtime_rtol: float | None = None,
    minimum: float = 0.5,
    runtime: bool = True,
    overrides: Any = None,
    seed: int = 0,
) -> Report:
    """Check ``vjp_model`` of a model at one point; raises AssertionError where it is wrong.

    Args:
        model: The model.
        feeds: Inputs by name.
        wrt: Tensors to differentiate with respect to; default every float input. Others than
            inputs and initializers are built and run, but not compared with differences.
        outputs: Tensors to differentiate; default every float output.
        symbolic: Forget every dimension of the float inputs first (the rank stays).
        constant: Inputs that are frozen into initializers first.
        keep_opset: Do not raise the model to opset 20.
        step: Of the central differences.
        rtol: Allowed deviation in double, relative to the largest entry of the gradient; default
            by the model's dtype, which its constants are rounded to.
        runtime_rtol: The same for ONNX Runtime; default by the model's dtype.
        minimum: Fraction of the derivatives that must not lie at a kink.
        runtime: Hold ONNX Runtime to what was computed in double, where it can run the model.
        overrides: Passed on to ``vjp_model``.
        seed: Of cotangents and of the choice of coordinates.
    """
    model = frozen(model, feeds, constant)
    feeds = {k: v for k, v in feeds.items() if k not in constant}
    if symbolic:
        model = forget_shapes(model)
    wrt = _floats(model.graph.input) if wrt is None else list(wrt)
    outputs = _floats(model.graph.output) if outputs is None else list(outputs)
    source = Model(onnx.shape_inference.infer_shapes(model), Weights(), "") if keep_opset else model
    grad = vjp_model(source, wrt, outputs, overrides=overrides)
    onnx.checker.check_model(grad, full_check=_infers(model))

    rng = np.random.default_rng(seed)
    forward = _Reference(model, outputs)
    y = forward(feeds)
    kinds = {v.name: helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type)
             for v in grad.graph.input}  # fmt: skip
    cotangents = {f"ct::{n}": _cotangent(rng, v).astype(kinds[f"ct::{n}"])
                  for n, v in zip(outputs, y, strict=True)}  # fmt: skip
    everything = {**feeds, **cotangents}
    tolerance = runtime_rtol or _tolerance(everything, TOLERANCE)
    rtol = rtol or _tolerance(everything, ROUNDING)
    ran = not runtime_refuses(model, feeds)
    after = run(grad, everything) if ran else {}
    exact = _exact(grad, everything, wrt)
    if exact is None:  # the reference evaluator has no such operator
        assert ran, "neither the reference evaluator nor ONNX Runtime can run the gradient"
        exact = {n: array_in_double(after[f"grad::{n}"]) for n in wrt}
        rtol = max(rtol, tolerance)
    if ran and runtime:
        _check_runtime(run(model, feeds), after, exact, tolerance)

    loss = _Loss(forward, feeds, [array_in_double(c) for c in cotangents.values()], step)
    compared = skipped = 0
    for name in wrt:
        if name not in feeds:
            continue
        done, left = _check_input(loss, name, exact[name], rng, rtol)
        compared, skipped = compared + done, skipped + left
    total = compared + skipped
    if total and compared < minimum * total:
        raise AssertionError(
            f"only {compared} of {total} derivatives are smooth here: move the feeds away from "
            "the kinks, or lower `minimum`; where the reference computes in single precision "
            "pass step=1e-2"
        )
    return Report(compared, skipped, ran)


def _infers(model: ModelProto) -> bool:
    """Tell whether ONNX's strict shape inference accepts a model (not each it publishes)."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.shape_inference.InferenceError:
        return False
    return True


class _Reference:
    """A model in double, run by ONNX's reference evaluator."""

    def __init__(self, model: ModelProto, outputs: Sequence[str]) -> None:
        self.session = ReferenceEvaluator(in_double(model), new_ops=BETTER_OPS)
        self.inputs = set(self.session.input_names)
        self.outputs = list(outputs)

    def __call__(self, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        given = {k: array_in_double(v) for k, v in feeds.items() if k in self.inputs}
        with np.errstate(all="ignore"):
            return [np.asarray(v) for v in self.session.run(self.outputs, given)]


class _Loss:
    """sum_j <cotangent_j, y_j> as a function of one input."""

    def __init__(
        self,
        forward: Callable[[Mapping[str, Any]], list[np.ndarray]],
        feeds: Mapping[str, Any],
        cotangents: Sequence[np.ndarray],
        step: float,
    ) -> None:
        self.forward, self.cotangents, self.step = forward, cotangents, step
        self.feeds = {k: array_in_double(v) for k, v in feeds.items()}
        self.here = self._terms(self.feeds)

    def _terms(self, feeds: Mapping[str, Any]) -> np.ndarray:
        ys = self.forward(feeds)
        if any(y.shape != c.shape for y, c in zip(ys, self.cotangents, strict=True)):
            return np.full(1, np.nan)  # the shape depends on the values: no derivative here
        with np.errstate(all="ignore"):
            terms = [np.where(c == 0, 0, y * c) for y, c in zip(ys, self.cotangents, strict=True)]
            return np.concatenate([np.ravel(term) for term in terms] or [np.zeros(1)])

    def derivatives(self, name: str, v: np.ndarray, step: float) -> tuple[float, float, float]:
        """Return the one-sided derivatives along ``v``, ahead and behind, and how they differ.

        They differ by the sum over the entries of the outputs: at many kinks at once, as where
        windows hold the same value twice, what is more in some may be less in others.
        """
        x = self.feeds[name]
        with np.errstate(all="ignore"):
            ahead = (self._terms({**self.feeds, name: x + step * v}) - self.here) / step
            behind = (self.here - self._terms({**self.feeds, name: x - step * v})) / step
            return float(ahead.sum()), float(behind.sum()), float(np.abs(ahead - behind).sum())


def _check_input(
    loss: _Loss, name: str, gradient: np.ndarray, rng: np.random.Generator, rtol: float
) -> tuple[int, int]:
    """Compare one gradient along coordinates and directions; return (compared, skipped)."""
    x = loss.feeds[name]
    assert gradient.shape == x.shape, f"grad::{name} has shape {gradient.shape}, not {x.shape}"
    finite = gradient[np.isfinite(gradient)]
    scale = max(1.0, float(np.abs(finite).max(initial=0.0)))
    compared = skipped = 0
    for label, v in _directions(x, rng):
        if not np.isfinite(x[v != 0]).all():
            skipped += 1  # nothing is differentiable at infinity
            continue
        with np.errstate(invalid="ignore"):
            emitted = float(gradient[v != 0] @ v[v != 0])
        allowed = rtol * scale * float(np.linalg.norm(v))
        verdict = _verdict(loss, name, v, emitted, allowed)
        if verdict is None:
            skipped += 1
            continue
        assert abs(verdict - emitted) <= allowed, (
            f"grad::{name} {label}: emitted {emitted:.9g}, central difference {verdict:.9g}"
        )
        compared += 1
    return compared, skipped


def _verdict(loss: _Loss, name: str, v: np.ndarray, emitted: float, allowed: float) -> float | None:
    """Return the derivative along ``v``; None at a kink, a jump, a pole or in noise."""
    ahead, behind, _ = loss.derivatives(name, v, loss.step)
    centre = (ahead + behind) / 2
    if not np.isfinite(centre):
        return None
    if abs(centre - emitted) <= allowed:
        # A kink whose sides average to the emitted value must not count as agreement.
        bend = abs(ahead - behind)
        return centre if bend <= max(100 * allowed, 0.02 * abs(centre)) else None
    *finer, bend = loss.derivatives(name, v, loss.step / 8)
    rough = max(0.1 * abs(centre - emitted), allowed)
    sides = (*finer, centre)
    return None if np.ptp(sides) > rough or bend > rough else float(np.mean(finer))


def _directions(x: np.ndarray, rng: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    chosen = range(x.size)
    found: list[tuple[str, np.ndarray]] = []
    if x.size > COORDINATES + DIRECTIONS:
        chosen = rng.choice(x.size, COORDINATES, replace=False).tolist()
        found = [(f"along random direction {i}", rng.standard_normal(x.shape))
                 for i in range(DIRECTIONS)]  # fmt: skip
    for index in chosen:
        v = np.zeros(x.size)
        v[index] = 1
        found.append((f"at {np.unravel_index(index, x.shape)}", v.reshape(x.shape)))
    return found


def _exact(grad: ModelProto, feeds: Mapping[str, Any], wrt: Sequence[str]) -> Arrays | None:
    """Run the emitted gradient in double; None where the reference evaluator cannot."""
    try:
        return dict(zip(wrt, _Reference(grad, [f"grad::{n}" for n in wrt])(feeds), strict=True))
    except (NotImplementedError, RuntimeError) as error:
        if isinstance(error, NotImplementedError) or "not implemented" in str(error):
            return None
        raise


def _tolerance(feeds: Mapping[str, Any], table: Mapping[str, float]) -> float:
    return max(table.get(_dtype_name(v), table["float64"]) for v in feeds.values())


def _check_runtime(original: Arrays, got: Arrays, exact: Arrays, rtol: float) -> None:
    """Compare what ONNX Runtime computed with its original outputs and the gradient in double."""
    for name, value in original.items():
        _compare(name, got[name], array_in_double(value), rtol)
    for name, value in exact.items():
        _compare(f"grad::{name}", got[f"grad::{name}"], value, rtol)


def _compare(name: str, got: Any, want: Any, rtol: float) -> None:
    if isinstance(want, list):
        assert len(got) == len(want), f"{name} has {len(got)} elements, not {len(want)}"
        for i, (g, w) in enumerate(zip(got, want, strict=True)):
            _compare(f"{name}[{i}]", g, w, rtol)
        return
    got, want = array_in_double(got), np.asarray(want)
    assert got.shape == want.shape, f"ONNX Runtime: {name} has shape {got.shape}, not {want.shape}"
    if want.dtype.kind not in "fiu":
        assert (got == want).all(), f"ONNX Runtime: {name} differs"
        return
    finite = np.abs(want[np.isfinite(want)])
    scale = max(1.0, float(finite.max(initial=0.0)))
    np.testing.assert_allclose(
        got, want, rtol=0, atol=rtol * scale, err_msg=f"ONNX Runtime: {name}"
    )


def _cotangent(rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
    """Return quarters of 1 to 8, exact in every float dtype, and 0 where y is not finite."""
    return np.where(np.isfinite(y), rng.choice(_QUARTERS, y.shape), 0)


def _floats(infos: Any) -> list[str]:
    kinds = {v.name: v.type.tensor_type.elem_type for v in infos if v.type.HasField("tensor_type")}
    return [name for name, kind in kinds.items() if kind in FLOATS]


def _dtype_name(value: Any) -> str:
    return getattr(getattr(value, "dtype", None), "name", "")
