"""Concepts given by pictures: by hand, against a plain loop over torch, the shell, what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from look.test_concepts import SIDE, SPEC, _net
from PIL import Image
from support import nets

from onnxcam.cli import main
from onnxcam.errors import UsageError
from onnxcam.look.tcav import tcav


def _pictures(folder: Path, count: int, seed: int, tint: tuple[int, int, int]) -> list[Path]:
    """Write noise with some more of a colour."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for k in range(count):
        noise = rng.integers(40, 140, (SIDE, SIDE, 3))
        picture = (noise + np.array(tint)).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{k:02d}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, list[Path]]:
    return {
        "red": _pictures(tmp_path / "red", 16, 1, (100, 0, 0)),
        "green": _pictures(tmp_path / "green", 16, 2, (0, 100, 0)),
        "noise": _pictures(tmp_path / "noise", 16, 3, (0, 0, 0)),
        "random": _pictures(tmp_path / "random", 40, 4, (0, 0, 0)),
        "explained": _pictures(tmp_path / "explained", 5, 5, (0, 0, 0)),
    }


def _found(folders: dict[str, list[Path]], *names: str, target: Any = 0, **more: Any) -> Any:
    chosen = {name: folders[name] for name in names}
    return tcav(
        _net(), folders["explained"], chosen, folders["random"], target=target, layer="a",
        preprocess=SPEC, **more,
    )  # fmt: skip


@pytest.mark.parametrize("pooled", [pytest.param(False, marks=pytest.mark.exhaustive), True])
def test_what_the_class_is_made_of(folders: dict[str, list[Path]], pooled: bool) -> None:
    """Class 0 is red and half of blue, class 1 is 2 green less red."""
    red, green, noise = _found(folders, "red", "green", "noise", pooled=pooled, runs=30).found
    assert red.score == 1 and red.significant and red.accuracy == 1
    assert not noise.significant and noise.accuracy < 0.9 and len(noise.scores) == 30
    red, green = _found(folders, "red", "green", target=1, pooled=pooled, runs=30).found
    assert red.score == 0 and red.significant, "a class that falls with a concept"
    assert green.score == 1 and green.significant
    assert all(0 <= p <= 1 for p in (red.p, green.p)) and 0 < np.mean(red.by_chance) < 1


def test_a_direction_and_its_score_by_hand(folders: dict[str, list[Path]]) -> None:
    """The head is linear: dy/dA is w over the positions, and the score is 0 or 1."""
    from sklearn.linear_model import LogisticRegression

    from onnxcam.look.tcav import _direction

    rng = np.random.default_rng(6)
    rows, others = rng.normal(1, 1, (9, 3)), rng.normal(0, 1, (9, 3))
    direction, accuracy = _direction(rows, others, np.random.default_rng(2))
    x, y = np.concatenate([rows, others]), np.repeat([1, 0], 9)
    draws, held = np.random.default_rng(2), np.zeros(18, bool)
    for kind in (0, 1):
        held[draws.permutation(np.flatnonzero(y == kind))[:2]] = True
    scaled = (x - x.mean(0)) / x.std()
    want = LogisticRegression(max_iter=1000).fit(scaled[~held], y[~held])
    np.testing.assert_allclose(direction, want.coef_[0])
    assert accuracy == (want.predict(scaled[held]) == y[held]).mean()


def test_the_gradient_is_that_of_the_class(folders: dict[str, list[Path]]) -> None:
    from onnxcam import Explainer
    from onnxcam.look.scan import Scan

    scan = Scan(Explainer(_net(), "hirescam", feature_layer="a", preprocess=SPEC, device="cpu"))
    a, slopes = scan(folders["red"][0], 1)
    pixels = np.asarray(Image.open(folders["red"][0]), np.float64) / 255
    np.testing.assert_allclose(a[:3], pixels.reshape(-1, 3).T, rtol=1e-5)
    want = np.repeat(np.array([-1, 2, 0, 0])[:, None] / SIDE**2, SIDE**2, 1)
    np.testing.assert_allclose(slopes, want, atol=1e-7)


def test_the_same_seed_gives_the_same(folders: dict[str, list[Path]]) -> None:
    one, again = (_found(folders, "noise", seed=3, runs=4).as_dict() for _ in range(2))
    assert one == again != _found(folders, "noise", seed=4, runs=4).as_dict()


def test_what_cannot_be_tested_is_said(folders: dict[str, list[Path]], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(UsageError, match="3 pictures of 'red' can be run"):
        tcav(_net(), folders["explained"], {"red": folders["red"][:3]}, folders["random"],
             layer="a", preprocess=SPEC)  # fmt: skip
    with pytest.raises(UsageError, match="pictures of nothing in particular"):
        tcav(_net(), folders["explained"], {"red": folders["red"]}, [broken], layer="a",
             preprocess=SPEC)  # fmt: skip
    with pytest.raises(UsageError, match="no picture can be explained .*broken.png"):
        tcav(_net(), [broken], {"red": folders["red"]}, folders["random"], layer="a",
             preprocess=SPEC)  # fmt: skip
    with pytest.raises(UsageError, match="1 runs"):
        _found(folders, "red", runs=1)
    found = tcav(_net(), [*folders["explained"], broken], {"red": folders["red"]},
                 folders["random"], layer="a", preprocess=SPEC, runs=2)  # fmt: skip
    assert found.pictures == 5 and "broken.png" in found.failed[0][0]


def test_pictures_of_several_sizes_are_pooled_or_refused(
    folders: dict[str, list[Path]], tmp_path: Path
) -> None:
    rng = np.random.default_rng(7)
    for k, path in enumerate(folders["red"]):
        side = SIDE + 2 * (k % 2)
        Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8)).save(path)
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"]),
        onnx.helper.make_node("Relu", ["c"], ["a"]),
        onnx.helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        onnx.helper.make_node("Flatten", ["p"], ["y"]),
    ]
    kernel = rng.standard_normal((2, 3, 3, 3)).astype("f4")
    proto = nets.model(nodes, {"x": ["N", 3, "h", "v"]}, {"y": ["N", 2]}, {"w": kernel})
    given = (proto, folders["explained"], {"red": folders["red"]}, folders["random"])
    with pytest.raises(UsageError, match="layers of several sizes"):
        tcav(*given, preprocess="unit", runs=2)
    assert tcav(*given, preprocess="unit", runs=2, pooled=True).pictures == 5


def test_the_shell(folders: dict[str, list[Path]], tmp_path: Path) -> None:
    onnx.save(_net(), str(tmp_path / "m.onnx"))
    (tmp_path / "m.toml").write_text('layout = "NCHW"\nchannels = "RGB"\nscale = 0.00392156862\n')
    call = ["tcav", str(tmp_path / "m.onnx"), str(tmp_path / "explained"), "--target", "0",
            "--concept", str(tmp_path / "red"), "--concept", str(tmp_path / "noise"),
            "--random", str(tmp_path / "random"), "--feature-layer", "a",
            "--runs", "30"]  # fmt: skip
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 0, result.output
    assert "red: 1.00 (+- 0.00)" in result.output and ": significant" in result.output
    assert "noise: " in result.output and "may be chance" in result.output
    found = json.loads(CliRunner().invoke(main, [*call, "--json"]).stdout)
    assert [each["concept"] for each in found["concepts"]] == ["red", "noise"]
    assert found["concepts"][0]["score"] == 1.0
