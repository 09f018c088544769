"""Concepts given by pictures against TCAV of Captum, of the same directions."""

from __future__ import annotations

import importlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from look.test_concepts import SIDE, SPEC
from look.test_tcav import _pictures
from PIL import Image
from support.peer_packages import captum_attr
from torch import Tensor, nn

from onnxcam.look.tcav import tcav

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


def _net() -> tuple[nn.Module, onnx.ModelProto]:
    """Not linear behind the layer, so that each picture has a gradient of its own."""
    torch.manual_seed(5)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Tanh(), nn.Flatten(),
        nn.Linear(6 * (SIDE - 4) ** 2, 6), nn.Tanh(), nn.Linear(6, 2),
    ).eval()  # fmt: skip
    with torch.no_grad():
        net[5].weight *= 8
    data, x = io.BytesIO(), torch.zeros(1, 3, SIDE, SIDE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (x,), data, dynamo=False, input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {0: "N"}},
        )  # fmt: skip
    return net, onnx.load_from_string(data.getvalue())


def _read(path: Path) -> Tensor:
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def _classifier(package: Any, cav: np.ndarray, seen: dict[int, np.ndarray]) -> Any:
    """Return a classifier of theirs that has our direction, and keeps what it is shown."""

    class Told(package._utils.classifier.Classifier):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

        def train_and_eval(self, dataloader: Any, **how: Any) -> None:
            rows = [(label, row) for rows, label in dataloader for row in rows]
            for kind in (0, 1):
                seen[kind] = np.stack([row.numpy() for label, row in rows if label == kind])

        def weights(self) -> Tensor:
            return torch.tensor(np.stack([cav, -cav]), dtype=torch.float32)

        def classes(self) -> list[int]:
            return [0, 1]

    return Told()


def test_scores_of_the_same_directions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captum_attr()
    package: Any = importlib.import_module("captum.concept")
    colours = {"red": (100, 0, 0), "random": (0, 0, 0), "explained": (10, 0, 20)}
    given = {
        name: _pictures(tmp_path / name, 8 if name == "red" else 30, seed, tint)
        for seed, (name, tint) in enumerate(colours.items())
    }
    net, proto = _net()
    module = importlib.import_module("onnxcam.look.tcav")
    ours, recorded = module._direction, list[tuple[Any, Any]]()

    def direction(rows: Any, others: Any, rng: Any) -> Any:
        found = ours(rows, others, rng)
        recorded.append((rows, found[0]))
        return found

    monkeypatch.setattr(module, "_direction", direction)
    found = tcav(
        proto, given["explained"], {"red": given["red"]}, given["random"], target=1,
        layer="/1/Relu_output_0", preprocess=SPEC, runs=4,
    ).found[0]  # fmt: skip
    scores = [s for pair in zip(found.scores, found.by_chance, strict=True) for s in pair]
    explained = torch.stack([_read(path) for path in given["explained"]])
    sets = [
        package.Concept(id=k, name=name, data_iter=[torch.stack([_read(p)]) for p in given[name]])
        for k, name in enumerate(("red", "random"))
    ]
    for run, (score, (rows, cav)) in enumerate(zip(scores, recorded, strict=True)):
        seen: dict[int, np.ndarray] = {}
        peer = package.TCAV(
            net, "1", classifier=_classifier(package, cav, seen), save_path=str(tmp_path / f"{run}")
        )
        theirs = peer.interpret(explained, [sets], target=1)["0-1"]["1"]
        assert float(theirs["sign_count"][0]) == pytest.approx(score)
        if run % 2 == 0:  # of the concept, not of random pictures
            np.testing.assert_allclose(seen[0], rows, rtol=1e-4, atol=1e-5)
    assert len(set(scores)) > 2, "scores between none and all"
