"""The check behind a conversion: what it feeds, what it tolerates, what it finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from support import nets

from onnxcam import methods, names
from onnxcam.analysis import layers
from onnxcam.compose import Explained, explain_graph
from onnxcam.model.model import Model, load
from onnxcam.run.agreement import relative
from onnxcam.run.samples import sample_feeds
from onnxcam.verify import Check, verify


def _explained(model: Model, method: str = "gradcam", **options: object) -> Explained:
    found = layers.catalog(model)
    return explain_graph(model, found, methods.find(method), **options)  # type: ignore[arg-type]


def _checked(model: Model, explained: Explained) -> Check:
    return verify(model, explained, layers.catalog(model))


def _spoiled(explained: Explained, name: str) -> Explained:
    """Return it with one weight doubled."""
    proto = explained.proto
    weight = next(t for t in proto.graph.initializer if t.name == name)
    weight.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(weight), name))
    return replace(explained, model=load(proto))


def _weight(proto: ModelProto) -> str:
    return next(t.name for t in proto.graph.initializer if t.data_type == TensorProto.FLOAT)


def test_a_good_model_passes() -> None:
    model = load(nets.cnn())
    found = _checked(model, _explained(model))
    assert found.problems == () and found.plain == 0 and found.map < 1e-6


def test_changed_outputs_and_maps_are_found() -> None:
    proto = nets.cnn()
    model = load(proto)
    found = _checked(model, _spoiled(_explained(model), _weight(proto)))
    said = "; ".join(found.problems)
    assert "outputs differ" in said and "optimisations off" in said and "map differs" in said


def test_a_missing_output_and_a_strange_operator_are_found() -> None:
    model = load(nets.cnn(softmax=True))
    explained = _explained(model)
    proto = explained.proto
    del proto.graph.output[0]
    proto.opset_import.add(domain="com.microsoft", version=1)
    node = helper.make_node("Gelu", ["x"], ["g"], domain="com.microsoft")
    proto.graph.node.append(node)
    found = _checked(model, replace(explained, model=load(proto)))
    assert found.devices == () and len(found.problems) == 2
    assert "operators of 'com.microsoft'" in found.problems[0]
    assert "'prob' is no longer what it was" in found.problems[1]


@pytest.mark.parametrize("targets", [[0], [2, -1]])
def test_a_required_target_is_fed(targets: list[int]) -> None:
    model = load(nets.cnn())
    explained = _explained(model, targets=len(targets), default=targets, required=True)
    assert names.TARGET in [p.name for p in explained.model.inputs]
    assert _checked(model, explained).problems == ()


def test_samples_keep_a_symbol_at_one_size() -> None:
    proto = nets.model(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        {"a": ["batch", "samples"], "b": [2, "batch", "samples"]},
        {"y": [2, "batch", "samples"]},
    )
    feeds = sample_feeds(load(proto))
    assert feeds["a"].shape == (1, 512) and feeds["b"].shape == (2, 1, 512)
    assert feeds["a"].std() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(("own", "problems"), [(0.015, 0), (0.005, 1)])
def test_outputs_may_differ_as_much_as_the_optimisations_change_the_original(
    own: float, problems: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of an int8 MobileNetV2 do, where a stopped fusion rounds to other steps."""
    model = load(nets.cnn())
    monkeypatch.setattr("onnxcam.verify._differences", lambda *_: (0.0, 0.02, own, ()))
    found = _checked(model, _explained(model))
    assert len(found.problems) == problems and found.optimised == 0.02


def test_outputs_that_another_opset_changed_are_found() -> None:
    original, other = load(nets.cnn()), nets.cnn()
    bias = next(t for t in other.graph.initializer if t.name == "fcb")
    bias.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(bias), "fcb"))
    moved = load(nets.cnn(), opset=21)
    explained, found = _explained(moved), layers.catalog(moved)
    assert verify(moved, explained, found, original=original).problems == ()
    problems = verify(moved, explained, found, original=load(other)).problems
    assert len(problems) == 1 and "at opset 21 the outputs differ by" in problems[0]


def test_differences_are_relative_to_the_largest_value() -> None:
    a = np.array([1.0, 100.0, np.nan])
    assert relative(a, a) == 0
    assert relative(a + np.array([1, 0, 0]), a) == pytest.approx(0.01)
    assert relative(a[:2], a) == float("inf")
