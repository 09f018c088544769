"""Several methods on one input, from Python and from the shell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from support import nets

from onnxcam import Explainer, metrics
from onnxcam.cli import main
from onnxcam.errors import UsageError

X = np.random.default_rng(3).normal(size=(1, 2, 6, 6)).astype("f4")
NAMES = ["gradcam", "occlusion", "saliency"]


def test_a_comparison_has_maps_numbers_and_agreement() -> None:
    explain = Explainer(nets.cnn(), NAMES, device="cpu", threads=1)
    found = explain.compare(X, target=1)
    assert found.names == NAMES and list(found.measures) == [*NAMES, *metrics.BASELINES]
    for name, one in explain(X, target=1).items():
        np.testing.assert_array_equal(found.explanations[name].map, one.map)
        want = metrics.measure("deletion", one, predict=explain.predict, steps=20)
        assert found.measures[name]["deletion"] == pytest.approx(want, rel=1e-5)
    maps = [found.explanations[name].map for name in NAMES]
    np.testing.assert_array_equal(found.agreement, metrics.rank_agreement(maps))
    assert "energy" not in found.measures["gradcam"]
    mask = np.zeros((6, 6), bool)
    mask[2:4] = True
    assert "energy" in explain.compare(X, target=1, mask=mask).measures["random"]


def test_an_explainer_of_one_method_compares_others() -> None:
    explain = Explainer(nets.cnn(), "layercam", device="cpu", threads=1)
    found = explain.compare(X, NAMES, 2, metrics=["entropy"])
    assert found.names == NAMES and set(found.measures["centre"]) == {"entropy"}
    assert explain.method.name == "layercam" and explain(X).method == "layercam"
    alone = Explainer(nets.cnn(), "gradcam", device="cpu", threads=1)(X, target=2)
    np.testing.assert_allclose(found.explanations["gradcam"].map, alone.map, rtol=1e-6)
    with pytest.raises(UsageError, match="no method 'cam-grad'"):
        explain.compare(X, ["cam-grad"])
    with pytest.raises(UsageError, match="one input and one target"):
        metrics.compare(explain, [X, X])
    with pytest.raises(UsageError, match="no metric 'loss'"):
        explain.compare(X, metrics=["loss"])


def test_what_no_map_knows_is_said_of_those_it_does_not_beat() -> None:
    """A constant map is no better than chance."""
    explain = Explainer(nets.cnn(), ["gradcam"], device="cpu", threads=1)
    found = explain.compare(X, target=0)
    page = found.figure()
    assert page.width > 300 and page.height > 300
    from onnxcam.metrics.comparison import _against

    rows = {"centre": {"deletion": 0.2}, "random": {"deletion": 0.4}, "edges": {"deletion": 0.1}}
    assert _against(rows, "deletion", 0.3) == " (no better than centre, edges)"
    assert _against(rows, "deletion", 0.05) == ""


def test_the_shell_compares(tmp_path: Path) -> None:
    onnx.save(nets.cnn(), str(tmp_path / "m.onnx"))
    np.save(tmp_path / "x.npy", X)
    given = ["compare", str(tmp_path / "m.onnx"), str(tmp_path / "x.npy"), "--device", "cpu",
             "--method", "gradcam", "--method", "rise", "--masks", "9"]  # fmt: skip
    place = tmp_path / "out.png"
    done = CliRunner().invoke(main, [*given, "-o", str(place)])
    assert done.exit_code == 0, done.output
    assert "deletion (lower is better)" in done.output and "agreement" in done.output
    assert place.stat().st_size > 1000
    made = tmp_path / "out.json"
    done = CliRunner().invoke(main, [*given, "-o", str(made), "--json"])
    said = json.loads(done.stdout)
    assert said == json.loads(made.read_text())
    assert set(said["agreement"]) == {"gradcam", "rise"}
    assert said["explanations"]["rise"]["parameters"]["masks"] == 9
    assert said["metrics"]["deletion"] == {"kind": "faithfulness", "better": "lower"}
    wrong = CliRunner().invoke(main, [*given, "-o", str(tmp_path / "out.gif")])
    assert wrong.exit_code == 2 and "use .png or .json" in wrong.output.lower()
