"""Operator traits: every operator that the gradient knows is described, once."""

from __future__ import annotations

import onnx
import onnx_graphsurgeon as gs
import pytest

from onnxcam.autodiff.registry import table
from onnxcam.graph.contrib.definitions import defined
from onnxcam.graph.operators import IMPLIED
from onnxcam.graph.ops import Trait, data_inputs, describe, described, has, named, traits_of

# What onnx 1.23 brought: the lowest version that is allowed knows nothing of it yet.
YOUNG = {("", "LinearAttention"), ("", "SwiGLU")}
KNOWN = sorted(
    {(domain, name) for domain, name, kind in table() if kind != "refused"}
    | {(domain, name) for domain, name, _ in defined()}
)


@pytest.mark.parametrize(("domain", "op_type"), KNOWN)
def test_every_operator_with_a_rule_a_zero_or_a_definition_is_described(
    domain: str, op_type: str
) -> None:
    assert traits_of(domain, op_type), f"describe {domain}::{op_type} in graph/operators.py"


def test_every_operator_of_onnx_is_described() -> None:
    newest = {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}
    assert [name for name in sorted(newest) if not traits_of("", name)] == []


def test_nothing_else_is_described() -> None:
    """A name with a slip in it would be an operator that nobody has."""
    everything = {(s.domain, s.name) for s in onnx.defs.get_all_schemas_with_history()}
    everything |= {(domain, name) for domain, name, _ in table()}
    if tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 23):
        everything |= YOUNG
    strays = [
        (domain, name)
        for domain, name, traits in described()
        if (domain, name) not in everything and Trait.OF_RUNTIME not in traits
    ]
    assert strays == []


def test_what_follows_is_said_too() -> None:
    for domain, name, traits in described():
        for trait in traits:
            assert traits.issuperset(IMPLIED.get(trait, ())), (domain, name, trait)
    assert {Trait.ELEMENTWISE, Trait.KEEPS_SHAPE, Trait.KEEPS_AXES} <= traits_of("", "Identity")


def test_nodes_of_every_kind_are_asked_alike() -> None:
    x, y = gs.Variable("x"), gs.Variable("y")
    assert has(gs.Node("Relu", inputs=[x], outputs=[y]), Trait.RECTIFIER)
    assert has(onnx.helper.make_node("Relu", ["x"], ["y"]), Trait.POOL, Trait.RECTIFIER)
    assert has(onnx.helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx"), Trait.RECTIFIER)
    assert not has(onnx.helper.make_node("Relu", ["x"], ["y"], domain="mine"), Trait.RECTIFIER)
    assert not has(onnx.helper.make_node("Relu", ["x"], ["y"]), Trait.POOL)


@pytest.mark.parametrize(
    ("op_type", "domain", "count", "data"),
    [
        ("Sum", "", 3, [0, 1, 2]),
        ("Conv", "", 3, [0]),
        ("Clip", "", 3, [0]),
        ("CastLike", "", 2, [0]),
        ("QuantizeLinear", "", 3, [0]),
        ("MatMul", "", 2, [0, 1]),
        ("Concat", "", 3, [0, 1, 2]),
        ("QLinearMul", "com.microsoft", 8, [0, 3]),
        ("QLinearWhere", "com.microsoft", 9, [1, 4]),
        ("QLinearConcat", "com.microsoft", 8, [2, 5]),
        ("SkipLayerNormalization", "com.microsoft", 5, [0, 1]),
    ],
)
def test_inputs_that_hold_data(op_type: str, domain: str, count: int, data: list[int]) -> None:
    node = onnx.helper.make_node(op_type, [f"x{i}" for i in range(count)], ["y"], domain=domain)
    assert data_inputs(node, range(count)) == data


def test_operators_by_their_trait() -> None:
    assert named(Trait.RECTIFIER) == {"Relu", "Clip"}
    assert named(Trait.CHANNELS_LAST, domain="com.microsoft") >= {"NhwcConv", "NhwcMaxPool"}


def test_an_operator_is_described_once() -> None:
    with pytest.raises(ValueError, match="two operators"):
        describe("Relu", domain="ai.onnx", traits=[Trait.POOL])
