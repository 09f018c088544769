"""Maps averaged over changed inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from support import nets

import onnxcam
from onnxcam import Explainer
from onnxcam.cli import main
from onnxcam.errors import UsageError
from onnxcam.targets import At, Keypoint, Region

X = np.random.default_rng(5).normal(size=(3, 2, 6, 6)).astype("f4")


def _explainer(name: Any, augment: str, **options: Any) -> Any:
    chosen = {"device": "cpu", "threads": 1, "upsampling": "none", **options}
    return Explainer(nets.cnn(), name, parameters={"augment": augment}, **chosen)


def _naive(x: np.ndarray, name: str, target: int, factors: tuple[float, ...]) -> np.ndarray:
    plain = _explainer(name, "none")
    maps = []
    for factor in factors:
        maps.append(plain(factor * x, target=target).raw_map)
        maps.append(plain(factor * x[..., ::-1].copy(), target=target).raw_map[:, ::-1])
    return np.mean(maps, 0)


@pytest.mark.parametrize("name", ["gradcam", "layercam", "cam", "eigen-cam"])
@pytest.mark.parametrize(("how", "factors"), [("flip", (1,)), ("flip-scale", (0.9, 1, 1.1))])
def test_an_augmented_map_is_the_mean_of_its_variants(
    name: str, how: str, factors: tuple[float, ...]
) -> None:
    """Also of several inputs, each with the top class that it has as it is."""
    found = _explainer(name, how)([one[None] for one in X])
    for one, each in zip(X, found, strict=True):
        want = _naive(one[None], name, each.target, factors)
        np.testing.assert_allclose(each.raw_map, want, rtol=1e-4, atol=1e-6)
        assert each.parameters["augment"] == how
        assert each.target == _explainer(name, "none")(one[None]).target


def test_a_mirrored_input_has_the_mirrored_map() -> None:
    plain, turned = (_explainer("gradcam", "flip")(x.copy(), target=1).raw_map
                     for x in (X[:1], X[:1, ..., ::-1]))  # fmt: skip
    np.testing.assert_allclose(turned[:, ::-1], plain, rtol=1e-5)


def test_maps_that_are_not_augmented_stay_as_they_are() -> None:
    both = _explainer(["gradcam", "saliency"], "flip")(X[:1], target=1)
    alone = Explainer(nets.cnn(), "saliency", device="cpu", threads=1, upsampling="none")
    want = alone(X[:1], target=1).raw_map
    np.testing.assert_allclose(both["saliency"].raw_map, want, rtol=1e-6)


def test_what_is_no_picture_is_not_mirrored() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    proto = nets.model(nodes, {"x": ["N", 2, 8]}, {"y": ["N", 2]}, {"w": np.ones((2, 2, 3), "f4")})
    explain = Explainer(proto, device="cpu", parameters={"augment": "flip"})
    with pytest.raises(UsageError, match="gradcam cannot be augmented.*no picture"):
        explain(np.ones((1, 2, 8), "f4"))


def test_a_file_holds_no_augmented_map() -> None:
    with pytest.raises(UsageError, match="a map with augment takes runs of its own"):
        onnxcam.convert(nets.cnn(), parameters={"augment": "flip"})


def test_the_shell_has_the_option(tmp_path: Path) -> None:
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    np.save(tmp_path / "x.npy", X[:1])
    words = ["explain", str(tmp_path / "m.onnx"), str(tmp_path / "x.npy")]
    out = str(tmp_path / "map.npz")
    result = CliRunner().invoke(main, [*words, "-o", out, "--augment", "flip", "--target", "1"])
    assert result.exit_code == 0, result.output
    want = _naive(X[:1], "gradcam", 1, (1,))
    np.testing.assert_allclose(np.load(out)["raw_map"], want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["score-cam", "ablation-cam", "recipro-cam", "conductance"])
@pytest.mark.parametrize("how", ["flip", "flip-scale"])
def test_methods_of_many_runs_are_averaged_as_well(name: str, how: str) -> None:
    """By hand: each variant explained by itself, its negative part cut off, mirrored back."""
    x = np.random.default_rng(2).normal(size=(1, 2, 6, 6)).astype("f4")
    found = _explainer(name, how)(x, target=[1, 0])
    factors = (1.0,) if how == "flip" else (0.9, 1.0, 1.1)
    for k, target in enumerate((1, 0)):
        maps, signed = [], []
        for factor in factors:
            for mirrored in (False, True):
                given = factor * (x[..., ::-1] if mirrored else x)
                one = _explainer(name, "none")(np.ascontiguousarray(given, "f4"), target=target)
                maps.append(one.raw_map[..., ::-1] if mirrored else one.raw_map)
                signed.append(one.signed_map[..., ::-1] if mirrored else one.signed_map)
        np.testing.assert_allclose(found[k].raw_map, np.mean(maps, 0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found[k].signed_map, np.mean(signed, 0), rtol=1e-4, atol=1e-6)
        assert found[k].parameters["augment"] == how


def test_variants_share_a_budget() -> None:
    told: list[int] = []
    x = np.random.default_rng(2).normal(size=(1, 2, 6, 6)).astype("f4")
    explain = _explainer(
        "score-cam", "flip", budget=3, batch_size=2, progress=lambda done, total: told.append(done)
    )
    assert explain(x, target=1).parameters["stopped"] and max(told) <= 4


@pytest.mark.parametrize("name", ["gradcam", "recipro-cam"])
@pytest.mark.parametrize("target", [Region(1, np.eye(6)), At((2, 3), 1), Keypoint(1)], ids=str)
def test_a_place_is_another_one_in_a_mirrored_input(name: str, target: Any) -> None:
    """The row of a box, a mask or a pixel of the mirrored input is of something else."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("Conv", ["a", "v"], ["y"]),
    ]
    weights = {n: X.ravel()[:size].reshape(shape) for n, size, shape in (
        ("w", 36, (2, 2, 3, 3)), ("v", 6, (3, 2, 1, 1)),
    )}  # fmt: skip
    proto = nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"y": ["N", 3, 6, 6]}, weights)

    def explain(how: str) -> Any:
        settings = {"augment": how, **({"score": "score"} if name == "recipro-cam" else {})}
        return Explainer(proto, name, device="cpu", threads=1, parameters=settings, cache=False)

    assert np.isfinite(explain("none")(X[:1], target).map).all()
    with pytest.raises(UsageError, match="another one in a mirrored input"):
        explain("flip")(X[:1], target)
    assert np.isfinite(explain("flip")(X[:1], Region(1)).map).all()
