"""K targets of N inputs in one call are K * N single calls: every kind, methods of all sorts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from kinds import detectors
from kinds.kind import Kind, exported
from kinds.networks import KINDS
from kinds.subject import parameters

from onnxcam import Explainer, OnnxcamError, methods
from onnxcam.model.model import load
from onnxcam.targets import Detection, Margin, Sum, Target

assert detectors
SOME = ("CNN", "ViT", "CTC", "tabular", "YOLOv5")
METHODS = ("gradcam", "saliency", "lrp-epsilon", "rise", "ablation-cam", "integrated-gradients")
# Frames, tiles and nodes merged into the batch, and batches that are written into the network.
NOTHING = ("SSD", "UltraFace")  # by their first class, which random weights may say seldom
FIXED = ("video", "GNN", "Swin", "CLIP, text", "DETR")


def _file(kind: Kind, *, is_open: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind.file is not None:
            return load(kind.file)
        return load(exported(kind, batch="N" if is_open else ""))


def _inputs(kind: Kind, dtype: Any) -> list[Any]:
    x = kind.inputs[kind.explained].numpy()
    rng = np.random.default_rng(5)
    if x.dtype.kind in "iu":
        return [x, (x + 1) % 9, rng.permuted(x, axis=-1)]
    return [x.astype(dtype), (0.5 * x).astype(dtype), rng.permuted(x, axis=-1).astype(dtype)]


def _targets(kind: Kind) -> list[list[Any]]:
    """Of each input other ones: as many or more, of one sort or of several."""
    found = kind.sure is not None and kind.name != "CTC"
    several = kind.name not in ("regression", "streaming", "BlazeFace")
    more: Target = Margin(1, 0) if several else Sum()
    box: Any = Detection(int(kind.name in NOTHING)) if found else None
    return [[0, more], [box], [Sum(), 0, None]]


def _explainers(name: str, method: str, *, is_open: bool) -> tuple[Kind, Any]:
    kind = KINDS[name]()
    how: dict[str, Any] = {
        "device": "cpu",
        "threads": 1,
        "cache": False,
        "parameters": parameters(methods.find(method)),
        **kind.options,
    }
    if name in NOTHING:
        how["detector"] = {**how.get("detector", {}), "nothing": 0}
    try:
        return kind, Explainer(_file(kind, is_open=is_open), method, **how)
    except OnnxcamError:
        return kind, None


def _check(name: str, method: str, *, is_open: bool) -> bool:
    kind, explainer = _explainers(name, method, is_open=is_open)
    if explainer is None:
        return False
    dtype = next(p.dtype for p in explainer.model.inputs if p.name == kind.explained)
    inputs, lists = _inputs(kind, dtype), _targets(kind)
    beside = {
        n: t.numpy().astype(next(p.dtype for p in explainer.model.inputs if p.name == n))
        for n, t in kind.inputs.items()
        if n != kind.explained
    }
    fed = {"extra_inputs": beside or None}
    try:
        explainer(inputs[0], lists[0][0], **fed)
    except OnnxcamError as single:  # what shows with an input alone: many are refused alike
        with pytest.raises(type(single)):
            explainer(inputs, lists, **fed)
        return False
    for row, targets, x in zip(explainer(inputs, lists, **fed), lists, inputs, strict=True):
        assert len(row) == len(targets)
        for got, target in zip(row, targets, strict=True):
            _alike(got, explainer(x, target, **fed), kind)
    one_list = explainer(inputs, lists[0], **fed)  # the same targets of all
    for row, x in zip(one_list, inputs, strict=True):
        for got, target in zip(row, lists[0], strict=True):
            _alike(got, explainer(x, target, **fed), kind)
    return True


def _alike(got: Any, want: Any, kind: Kind) -> None:
    scale = max(float(np.abs(want.map).max()), 1e-12)
    exact = 1e-4 if kind.name not in ("fp16", "int8") else 1e-2
    assert float(np.abs(got.map - want.map).max()) <= exact * scale
    assert (got.target, got.quantity, got.label) == (want.target, want.quantity, want.label)
    assert got.score == pytest.approx(want.score, rel=exact, abs=exact)


@pytest.mark.parametrize("method", ["gradcam", "rise"])
@pytest.mark.parametrize("name", SOME)
def test_a_call_with_many_equals_single_calls(name: str, method: str) -> None:
    answered = _check(name, method, is_open=True)
    assert answered or name == "tabular"


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", list(KINDS))
def test_of_every_kind(name: str) -> None:
    answered = [_check(name, method, is_open=name not in FIXED) for method in METHODS]
    assert any(answered)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [*SOME, *FIXED])
def test_of_a_batch_of_one(name: str) -> None:
    """Inputs run one after another, and are explained alike."""
    assert any([_check(name, method, is_open=False) for method in ("gradcam", "saliency", "rise")])
