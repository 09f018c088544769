"""Random models of the operators that exporters write, and what to differentiate in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

import support.fuzzing.control
import support.fuzzing.moves
import support.fuzzing.nodes  # noqa: F401
from support.fuzzing.graphs import Model, Scope, UnfitError, build, grow

__all__ = ["Case", "displaced", "random_case"]


@dataclass(frozen=True)
class Case:
    """A model at one point.

    Attributes:
        model: The model.
        feeds: Its inputs, float32; among them weights that are inputs with a default.
        wrt: Inputs to differentiate with respect to.
        internal: A tensor that the main graph computes, an output maybe.
        outputs: Outputs to differentiate.
        values: What the main graph computes, in double.
        symbolic: Whether the dimensions of the inputs are to be forgotten.
        keep_opset: Whether the model is to stay at its opset.
    """

    model: ModelProto
    feeds: dict[str, Any]
    wrt: list[str]
    internal: str
    outputs: list[str]
    values: dict[str, Any]
    symbolic: bool
    keep_opset: bool


def random_case(seed: int) -> Case:
    """Return the case of a seed, always the same."""
    rng = np.random.default_rng(seed)
    while True:
        try:
            return _case(rng)
        except UnfitError:
            continue


def _case(rng: np.random.Generator) -> Case:
    scope = Scope(Model(rng, int(rng.integers(7, 23))))
    inputs = [f"x{i}" for i in range(scope.one_of([1, 1, 2, 3]))]
    shapes = [(2, 4, 4, 4), (1, 4, 5, 3), (2, 3, 4), (2, 4), (2, 3, 5, 5), (1, 2, 7)]
    first = scope.one_of(shapes)
    for name in inputs:
        shape = scope.one_of([first, first, *shapes])
        scope.values[name] = scope.rng.standard_normal(shape).astype(np.float32).astype(float)
        scope.pool.append(name)
    grow(scope, int(rng.integers(3, 10)), nested=True)
    made = [n for n in scope.pool if n not in inputs]
    outputs = sorted({made[-1], *(scope.one_of(made) for _ in range(scope.one_of([0, 0, 1, 2])))})
    model = build(scope, inputs, outputs)
    feeds = {n: scope.values[n].astype(np.float32) for n in inputs}
    feeds |= {n: scope.model.weights[n] for n in scope.model.fed}
    wrt = [n for n in feeds if scope.chance(0.8)] or inputs[:1]
    wanted = [n for n in outputs if scope.chance(0.8)] or outputs[:1]
    # onnx's converter gives the outputs of an Upsample other names
    lost = {n.output[0] for n in model.graph.node if n.op_type == "Upsample"}
    internal = scope.one_of([n for n in made if n not in lost])
    return Case(model, feeds, wrt, internal, wanted, scope.values, scope.chance(0.4),
                scope.opset >= 16 and scope.chance(0.2))  # fmt: skip


def displaced(case: Case) -> Case:
    """Return the case with an input (zero) that is added to its internal tensor, last in wrt."""
    model = ModelProto()
    model.CopyFrom(case.model)
    name, delta = case.internal, f"{case.internal}.delta"
    at = next(i for i, n in enumerate(model.graph.node) if name in n.output)
    maker = model.graph.node[at]
    maker.output[list(maker.output).index(name)] = f"{name}.before"
    add = helper.make_node("Add", [f"{name}.before", delta], [name])
    model.graph.node.insert(at + 1, add)
    shape = case.values[name].shape
    info = helper.make_tensor_value_info(delta, TensorProto.FLOAT, shape)
    model.graph.input.append(info)
    feeds = {**case.feeds, delta: np.zeros(shape, np.float32)}
    return replace(case, model=model, feeds=feeds, wrt=[*case.wrt, delta])
