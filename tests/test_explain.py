"""The Explainer: inputs of every kind, batches, targets, and what it says when it goes wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image
from support import nets

from onnxcam import Explainer
from onnxcam.errors import InputError, ModelError, UsageError
from onnxcam.model.model import load
from onnxcam.output.upsample import upsample
from onnxcam.run.session import Session


@pytest.fixture
def batch() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(5, 2, 6, 6)).astype("f4")


def _explainer(**options: object) -> Explainer:
    proto = options.pop("proto", None) or nets.cnn()
    return Explainer(proto, device="cpu", threads=1, **options)  # type: ignore[arg-type]


def test_one_input_one_explanation(batch: np.ndarray) -> None:
    found = _explainer()(batch[:1])
    scores = Session(load(nets.cnn()).proto, device="cpu").run({"x": batch[:1]})[0][0]
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
    assert found.target == scores.argmax()
    powers = np.exp(scores - scores.max())
    assert found.probability == pytest.approx((powers / powers.sum()).max(), rel=1e-5)
    assert found.map.shape == found.raw_map.shape == (6, 6)
    assert (found.feature_layer, found.reduction_layer) == ("relu", "logits")
    assert found.diagnosis == () or "negative" in found.diagnosis[0]


def test_a_batch_equals_single_calls(batch: np.ndarray) -> None:
    explain = _explainer(batch_size=2)
    together = explain(list(batch))
    for x, found in zip(batch, together, strict=True):
        alone = explain(x)
        assert alone.target == found.target
        np.testing.assert_allclose(found.map, alone.map, atol=1e-6)


def test_many_targets_equal_single_calls(batch: np.ndarray) -> None:
    explain = _explainer()
    several = explain(list(batch), target=[2, None, 0])
    for x, row in zip(batch, several, strict=True):
        for target, found in zip([2, None, 0], row, strict=True):
            alone = explain(x, target=target)
            assert alone.target == found.target
            np.testing.assert_allclose(found.map, alone.map, atol=1e-6)


def test_many_targets_with_a_fixed_batch(batch: np.ndarray) -> None:
    explain = _explainer(proto=nets.cnn(batch=1))
    several = explain(list(batch), target=[0, 1, 2])
    assert [[e.target for e in row] for row in several] == [[0, 1, 2]] * 5
    np.testing.assert_allclose(several[3][1].map, explain(batch[3], target=1).map, atol=1e-6)


def test_the_softmax_can_be_explained_instead(batch: np.ndarray) -> None:
    """dp_c/dA = p_c (dz_c/dA - sum_j p_j dz_j/dA): another map than the logit's."""
    proto = nets.cnn(softmax=True)
    logit = _explainer(proto=proto)(batch[:1], target=1)
    prob = _explainer(proto=proto, reduction_layer="prob")(batch[:1], target=1)
    assert logit.probability == pytest.approx(prob.probability, rel=1e-5)
    explain = _explainer(proto=proto)
    signed = np.stack([explain(batch[:1], target=c).signed_map for c in range(3)])
    p = np.exp(logit.scores) / np.exp(logit.scores).sum()
    want = p[1] * (signed[1] - np.tensordot(p, signed, 1))
    np.testing.assert_allclose(prob.signed_map, want, atol=1e-6)


def test_upsampling_choices(batch: np.ndarray) -> None:
    proto = nets.cnn()
    proto.graph.node[0].attribute.append(helper.make_attribute("strides", [2, 2]))
    raw = _explainer(proto=proto, upsampling="none")(batch[:1])
    assert raw.map.shape == raw.raw_map.shape == (3, 3)
    for method in ("bicubic", "nearest"):
        large = _explainer(proto=proto, upsampling=method)(batch[:1])
        np.testing.assert_array_equal(large.map, upsample(raw.raw_map, (6, 6), method))
    with pytest.raises(UsageError, match="no upsampling 'linear'"):
        _explainer(upsampling="linear")


def test_pictures_need_a_description() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(UsageError, match="Nothing says"):
        _explainer(proto=nets.cnn(channels=3))(picture)


def test_pictures_of_every_kind_agree(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "p.png")
    explain = _explainer(proto=nets.cnn(channels=3), preprocess="unit", labels=["a", "b", "c"])
    tensor = (picture.astype("f4") / 255).transpose(2, 0, 1)[None]
    np.save(tmp_path / "p.npy", tensor)
    kinds = [tmp_path / "p.png", str(tmp_path / "p.png"), Image.fromarray(picture), picture,
             tensor, tmp_path / "p.npy"]  # fmt: skip
    found = explain(kinds, target="b")
    for one in found[1:]:
        np.testing.assert_allclose(one.map, found[0].map, atol=1e-6)
    assert {e.label for e in found} == {"b"}
    assert found[0].overlay().shape == (6, 6, 3)
    assert found[0].picture is not None and found[4].picture is None


def test_one_bad_input_does_not_stop_the_others(tmp_path: Path, batch: np.ndarray) -> None:
    (tmp_path / "bad.npy").write_bytes(b"no array")
    paths = []
    for i, x in enumerate(batch):
        np.save(tmp_path / f"{i}.npy", x[None])
        paths.append(tmp_path / f"{i}.npy")
    paths.insert(2, tmp_path / "bad.npy")
    results = list(_explainer(batch_size=3).stream(paths))
    assert [p for p, _ in results] == paths
    assert [isinstance(r, InputError) for _, r in results] == [i == 2 for i in range(6)]


def test_a_title_says_that_there_is_no_score(batch: np.ndarray) -> None:
    found = _explainer()(batch[:1], target=1)
    broken = replace(found, scores=np.full(3, np.nan), probability=None, label="tench")
    assert broken.title == "tench, score not finite"
    assert replace(broken, scores=np.ones(3)).title == "tench 1"


def test_nan_is_refused(batch: np.ndarray) -> None:
    batch[0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match=r"(?i)nan|finite"):
        _explainer()(batch[:1])


def test_bad_targets_are_refused(batch: np.ndarray) -> None:
    explain = _explainer(labels=["a", "b", "c"])
    with pytest.raises(UsageError, match="3 is out of range"):
        explain(batch[:1], target=3)
    with pytest.raises(UsageError, match="no class is called 'd'"):
        explain(batch[:1], target="d")


def test_a_feature_layer_off_the_path_is_refused() -> None:
    proto = nets.cnn()
    proto.graph.node.append(helper.make_node("MaxPool", ["relu"], ["side"], kernel_shape=[2, 2]))
    proto.graph.output.append(helper.make_tensor_value_info("side", 1, ["N", 4, 5, 5]))
    with pytest.raises(UsageError, match="no feature layer 'side' on the path"):
        _explainer(proto=proto, feature_layer="side")


def test_a_model_without_an_image_says_so() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    proto = nets.model(nodes, {"x": ["N", 3]}, {"y": ["N", 2]}, {"w": np.ones((3, 2), "f4")})
    with pytest.raises(ModelError, match="nothing to explain.*spatial, time or token"):
        Explainer(proto, device="cpu")


def test_missing_second_inputs_are_named(batch: np.ndarray) -> None:
    proto = nets.cnn()
    proto.graph.input.append(helper.make_tensor_value_info("gain", 1, [1]))
    proto.graph.node.append(helper.make_node("Mul", ["logits", "gain"], ["out"]))
    proto.graph.output[0].name = "out"
    explain = Explainer(proto, device="cpu")
    with pytest.raises(InputError, match="'gain'"):
        explain(batch[:1])
    double = explain(batch[:1], target=0, extra_inputs={"gain": np.array([2], "f4")})
    plain = _explainer()(batch[:1], target=0)
    np.testing.assert_allclose(double.map, 2 * plain.map, rtol=1e-5)


def test_a_dead_layer_is_diagnosed(batch: np.ndarray) -> None:
    proto = nets.cnn()
    fc = next(t for t in proto.graph.initializer if t.name == "fc")
    fc.raw_data = np.zeros((3, 4), "f4").tobytes()
    assert "gradient is zero" in _explainer(proto=proto)(batch[:1]).diagnosis[0]
    fc.raw_data = np.full((3, 4), -1, "f4").tobytes()
    found = _explainer(proto=proto)(batch[:1])
    assert "all negative" in found.diagnosis[0]
    assert not found.map.any() and (found.signed_map < 0).any()


def test_saved_files_hold_the_explanation(tmp_path: Path, batch: np.ndarray) -> None:
    found = _explainer()(batch[:1], target=1)
    found.save(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as saved:
        np.testing.assert_array_equal(saved["map"], found.map)
        np.testing.assert_array_equal(saved["signed_map"], found.signed_map)
        assert json.loads(str(saved["info"]))["target"] == 1
    found.save(tmp_path / "e.json")
    said = json.loads((tmp_path / "e.json").read_text())
    assert said["method"] == "gradcam" and said["feature_layer"] == "relu"
    assert said["map"]["max"] == pytest.approx(float(found.map.max()))
    with pytest.raises(UsageError, match=r"\.png, .*\.npz or \.json"):
        found.save(tmp_path / "e.bmp")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.json", "e.npz"]


def test_scores_stay_those_of_the_plain_model(shared_models: Path) -> None:
    """Bit for bit with optimisations off, rounding of the dtype with them on."""
    rng = np.random.default_rng(0)
    from onnxcam.analysis.layers import catalog
    from onnxcam.compose import default_feature, explain_graph
    from onnxcam.methods import find
    from onnxcam.names import SCORE

    for path in sorted(shared_models.glob("*.onnx")):
        model = load(path)
        found = catalog(model)
        explained = explain_graph(
            model, found, find("gradcam"), feature=default_feature(found, None), diagnose=True
        )
        onnx.checker.check_model(explained.proto, full_check=True)
        feeds = {}
        for port in model.inputs:
            assert port.shape is not None
            free = {"M1": 48, "M2": 48, "sequence": 576}
            shape = [d if isinstance(d, int) else free.get(str(d), 1) for d in port.shape]
            value = rng.normal(size=shape) if port.dtype.kind == "f" else np.full(shape, 16000)
            feeds[port.name] = value.astype(port.dtype)
        names = [o.name for o in model.outputs]
        plain = onnx.load(path)
        for optimise in (False, True):
            want = Session(plain, device="cpu", optimise=optimise).run(feeds, names)
            got = Session(explained.proto, device="cpu", optimise=optimise).run(feeds, names)
            for a, b in zip(got, want, strict=True):
                assert a.argmax() == b.argmax(), path.name
                if "fp16" in path.name:  # raising the opset changes the Softmax's kernel
                    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
                elif optimise:
                    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())
                else:
                    np.testing.assert_array_equal(a, b, err_msg=path.name)
        assert SCORE in [o.name for o in explained.proto.graph.output]


def test_peaks_lie_in_the_boxes(
    shared_models: Path, shared_images: Path, boxes: list[dict]
) -> None:
    explain = Explainer(
        shared_models / "mobilenetv2_torch_legacy.onnx", preprocess="imagenet", device="cpu"
    )
    hits = 0
    for entry in boxes:
        found = explain(shared_images / entry["file"], target=entry["imagenet"])
        y, x = np.unravel_index(found.map.argmax(), found.map.shape)
        left, top, right, bottom = found.box
        px = left + (x + 0.5) * (right - left) / found.map.shape[1]
        py = top + (y + 0.5) * (bottom - top) / found.map.shape[0]
        hits += any(a <= px <= a + w and b <= py <= b + h for a, b, w, h in entry["boxes"])
    assert hits >= 8


def test_many_targets_of_a_quantised_model(shared_models: Path, shared_images: Path) -> None:
    """ONNX Runtime aborts on subgraphs that capture a DequantizeLinear: they must not."""
    explain = Explainer(
        shared_models / "mobilenetv2_int8_qdq.onnx", preprocess="imagenet", device="cpu"
    )
    picture = shared_images / "000000000471.jpg"
    several = explain(picture, target=[779, 3])
    for found in several:
        alone = explain(picture, target=found.target)
        np.testing.assert_allclose(found.signed_map, alone.signed_map, atol=1e-5)
    assert several[0].probability is not None and several[0].probability > 0.5
