"""Plans: several maps in one model, each as if it were alone, over one forward pass."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from support import nets

from onnxcam import Explainer, convert, names
from onnxcam.analysis.layers import catalog
from onnxcam.cli import main
from onnxcam.compose import MapPlan, Plan, explain_graph, maps_of, plan_graph
from onnxcam.errors import UsageError
from onnxcam.methods import find
from onnxcam.model.model import load
from onnxcam.run.session import Session
from onnxcam.targets import Margin

X = np.random.default_rng(5).normal(size=(2, 2, 8, 8)).astype("f4")


def _deep() -> onnx.ModelProto:
    """Conv, Relu, Conv, Relu, pool, Gemm: two layers that maps can be made of."""
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["first"]),
        helper.make_node("Conv", ["first", "w2"], ["c2"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["second"]),
        helper.make_node("GlobalAveragePool", ["second"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc"], ["logits"], transB=1),
    ]
    weights = {
        "w1": rng.normal(size=(4, 2, 3, 3)).astype("f4"),
        "w2": rng.normal(size=(5, 4, 3, 3)).astype("f4"),
        "fc": rng.normal(size=(3, 5)).astype("f4"),
    }
    return nets.model(nodes, {"x": ["N", 2, 8, 8]}, {"logits": ["N", 3]}, weights)


METHODS = ["gradcam", "layercam", "gradcam++", "cam", "saliency", "guided-gradcam"]


@pytest.mark.parametrize("target", [None, [2], [0, 2, 1]], ids=["top", "one", "several"])
def test_together_as_alone(target: Any) -> None:
    together = Explainer(_deep(), METHODS, device="cpu", threads=1)(list(X), target=target)
    for method in METHODS:
        alone = Explainer(_deep(), method, device="cpu", threads=1)(list(X), target=target)
        for both, single in zip(together, alone, strict=True):
            rows = both if isinstance(both, list) else [both]
            wanted = single if isinstance(single, list) else [single]
            for row, want in zip(rows, wanted, strict=True):
                got = row[method]
                assert (got.method, got.target, got.feature_layer) == (
                    want.method, want.target, want.feature_layer,
                )  # fmt: skip
                np.testing.assert_allclose(got.raw_map, want.raw_map, rtol=1e-5, atol=1e-6)
                np.testing.assert_allclose(got.map, want.map, rtol=1e-4, atol=1e-5)


def test_several_layers() -> None:
    explain = Explainer(_deep(), feature_layer=["first", "second"], device="cpu", threads=1)
    found = explain(X[0])
    assert list(found) == ["gradcam.first", "gradcam.second"]
    for layer in ("first", "second"):
        alone = Explainer(_deep(), feature_layer=layer, device="cpu", threads=1)(X[0])
        np.testing.assert_allclose(found[f"gradcam.{layer}"].map, alone.map, rtol=1e-4, atol=1e-6)


def test_the_forward_pass_and_the_gradient_are_shared() -> None:
    model = load(_deep())
    found = catalog(model)

    def operators(*methods: str) -> Counter[str]:
        made = explain_graph(model, found, [find(m) for m in methods], feature=found.find("first"))
        return Counter(n.op_type for n in made.model.light.graph.node)

    one, two = operators("gradcam"), operators("gradcam", "layercam")
    heavy = ("Conv", "ConvTranspose", "Gemm")
    assert {k: two[k] for k in heavy} == {k: one[k] for k in heavy}


def test_a_target_and_several_maps() -> None:
    found = Explainer(_deep(), ["gradcam", "saliency"], device="cpu", threads=1)(
        X[0], target=Margin(0, 1)
    )
    assert {e.quantity for e in found.values()} == {"margin over 1"}
    assert len({e.score for e in found.values()}) == 1


def test_the_names_of_ports() -> None:
    made = convert(_deep(), method=["gradcam", "layercam"], expose=["signed"])
    model = made.explained.model
    assert [p.name for p in model.outputs] == [
        "logits",
        "onnxcam.map.gradcam",
        "onnxcam.map.layercam",
        "onnxcam.class",
        "onnxcam.signed.gradcam",
        "onnxcam.signed.layercam",
    ]
    said = json.loads(model.metadata["onnxcam.maps"])
    assert [m["name"] for m in said] == ["gradcam", "layercam"]
    assert model.metadata["onnxcam.method"] == "gradcam, layercam"
    assert made.check is not None and not made.check.problems
    session = Session(model, device="cpu", threads=1)
    (layercam,) = session.run({"x": X}, ["onnxcam.map.layercam"])
    alone = Session(convert(_deep(), method="layercam").explained.model, device="cpu", threads=1)
    np.testing.assert_allclose(layercam, alone.run({"x": X}, [names.MAP])[0], rtol=1e-5, atol=1e-6)


def test_a_single_map_keeps_its_name() -> None:
    plan = maps_of(catalog(load(_deep())), ["gradcam"])
    assert [m.name for m in plan] == [""] and plan[0].port(names.MAP) == "onnxcam.map"


def test_a_method_named_twice_is_one_map() -> None:
    found = maps_of(catalog(load(_deep())), ["gradcam", find("gradcam")])
    assert len(found) == 1


@pytest.mark.parametrize(
    ("methods", "layers", "words"),
    [
        ([], None, "no method is given"),
        (["gradcam", "nosuch"], None, "no method 'nosuch'"),
        (["saliency"], ["first"], "has no feature layer"),
        (["gradcam"], ["first", "nosuch"], "no feature layer 'nosuch'"),
    ],
)
def test_what_cannot_be_planned(methods: list[str], layers: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        maps_of(catalog(load(_deep())), methods, layers)


def test_a_wrong_map_of_several_is_found_by_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second map is looked at as the first is."""
    real = plan_graph

    def wrong(model: Any, plan: Plan, **options: Any) -> Any:
        if [m.name for m in plan.maps] == [""] and plan.maps[0].method.name == "layercam":
            plan = Plan(plan.catalog, (MapPlan(find("gradcam"), plan.maps[0].feature),))
        return real(model, plan, **options)

    monkeypatch.setattr("onnxcam.compose.plan_graph", wrong)
    with pytest.raises(Exception, match="the map differs"):
        convert(_deep(), method=["gradcam", "layercam"])


def test_the_shell_writes_a_file_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(_deep(), "m.onnx")
    np.save("x.npy", X[:1])
    words = ["explain", "m.onnx", "x.npy", "--save-map", "maps"]
    words += ["--method", "gradcam", "--method", "layercam", "-o", "out"]
    layers = ["--feature-layer", "first", "--feature-layer", "second"]
    result = CliRunner().invoke(main, [*words, *layers])
    assert result.exit_code == 0, result.output
    made = {p.stem for p in (tmp_path / "maps").iterdir()}
    assert made == {
        f"x.{method}.{layer}" for method in ("gradcam", "layercam") for layer in ("first", "second")
    }
    one = CliRunner().invoke(main, [*words[:3], *words[5:9], "-o", "one.png"])
    assert one.exit_code == 0 and "2 maps -> one.png" in one.output  # one figure of both
    both = CliRunner().invoke(main, [*words[:4], "m.npz", *words[5:9], "-o", "one.png"])
    assert both.exit_code == 2 and "give a folder" in both.output.casefold()
