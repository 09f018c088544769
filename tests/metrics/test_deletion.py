"""Deletion against literal values, a naive loop and what it claims of a real model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import nets

import onnxcam
from onnxcam import metrics
from onnxcam.errors import InputError, UsageError
from onnxcam.metrics.deletion import deletion
from onnxcam.model.model import load
from onnxcam.output.explanation import Explanation
from onnxcam.run.session import Session

RNG = np.random.default_rng(4)


def _explained(x: np.ndarray, map: np.ndarray, layout: str = "CHW", target: int = 0) -> Explanation:
    """An explanation whose map is chosen."""
    found = onnxcam.Explainer(nets.cnn(), device="cpu")(np.zeros((1, 2, 6, 6), "f4"))
    return replace(found, tensor=x, map=map, layout=layout, target=target)


def _sum(batch: np.ndarray) -> np.ndarray:
    """Two classes: the sum of all values, and its negative."""
    total = batch.reshape(len(batch), -1).sum(1)
    return np.stack([total, -total], 1)


def test_a_curve_by_hand() -> None:
    """The sums 10, 6, 3, 1, 0 at 0, 1/4 ... 1: the area is (10/2 + 6 + 3 + 1 + 0/2) / 4."""
    x = np.array([[[4.0, 3.0], [2.0, 1.0]]], "f4")
    assert deletion(_explained(x, x[0]), _sum, steps=4) == pytest.approx(15 / 4)
    assert deletion(_explained(x, -x[0]), _sum, steps=4) == pytest.approx((5 + 9 + 7 + 4) / 4)
    assert deletion(_explained(x, x[0], target=1), _sum, steps=4) == pytest.approx(-15 / 4)
    assert deletion(_explained(x, x[0]), _sum, steps=1) == pytest.approx(5)


def test_ties_go_in_their_order() -> None:
    x = np.array([[[4.0, 3.0], [2.0, 1.0]]], "f4")
    flat = deletion(_explained(x, np.zeros((2, 2), "f4")), _sum, steps=4)
    assert flat == pytest.approx(15 / 4)


def _naive(x: np.ndarray, map: np.ndarray, channel: int | None, predict: Any, target: int,
           steps: int, baseline: np.ndarray) -> float:  # fmt: skip
    """Remove place after place in Python loops, and add trapezoids."""
    order = sorted(np.ndindex(map.shape), key=lambda place: -map[place])
    ends = [round(i * map.size / steps) for i in range(steps + 1)]
    now, area, before = x.copy(), 0.0, None
    for n in range(map.size + 1):
        if n:
            place: list[Any] = list(order[n - 1])
            if channel is not None:
                place.insert(channel, slice(None))
            now[tuple(place)] = baseline[tuple(place)]
        if n in ends:
            score = float(predict(now[None])[0, target])
            if before is not None:
                area += (n - before[0]) / map.size * (score + before[1]) / 2
            before = (n, score)
    return area


@pytest.mark.parametrize(
    ("layout", "shape"), [("CHW", (3, 4, 5)), ("HWC", (4, 5, 3)), ("HW", (4, 5)), ("CT", (3, 20)),
                          ("CDHW", (2, 2, 5, 2))],
)  # fmt: skip
@pytest.mark.parametrize("steps", [1, 3, 4, 20, 50])
def test_it_is_the_naive_loop(layout: str, shape: tuple[int, ...], steps: int) -> None:
    x, empty = RNG.normal(size=(2, *shape)).astype("f4")
    channel = layout.find("C") if "C" in layout else None
    space = [n for axis, n in zip(layout, shape, strict=True) if axis != "C"]
    map = RNG.normal(size=space).astype("f4")
    weight = RNG.normal(size=(int(np.prod(shape)), 3)).astype("f4")

    def predict(batch: np.ndarray) -> np.ndarray:
        z = np.exp(batch.reshape(len(batch), -1) @ weight / 9)
        return z / z.sum(1, keepdims=True)

    found = _explained(x, map, layout, target=2)
    want = _naive(x, map, channel, predict, 2, steps, empty)
    for size in (1, 7):
        got = deletion(found, predict, steps=steps, baseline=empty, batch_size=size)
        assert got == pytest.approx(want, rel=1e-5)


def test_what_cannot_be_measured_is_refused() -> None:
    x = np.ones((1, 2, 2), "f4")
    good = _explained(x, x[0])
    with pytest.raises(UsageError, match="does not lie over"):
        deletion(replace(good, map=np.ones((1, 1), "f4")), _sum)
    with pytest.raises(UsageError, match="unknown axes"):
        deletion(replace(good, layout=None), _sum)
    with pytest.raises(UsageError, match="0 steps"):
        deletion(good, _sum, steps=0)
    with pytest.raises(InputError, match="map is not finite"):
        deletion(replace(good, map=np.full((2, 2), np.nan, "f4")), _sum)
    with pytest.raises(InputError, match="score .* not finite"):
        deletion(good, lambda batch: np.full((len(batch), 2), np.nan))


def test_the_input_stays_as_it_is() -> None:
    x = RNG.normal(size=(2, 3, 3)).astype("f4")
    kept = x.copy()
    deletion(_explained(x, x[0]), _sum)
    np.testing.assert_array_equal(x, kept)


def test_a_map_of_a_real_model_beats_its_opposite(zoo: Path) -> None:
    explain = onnxcam.Explainer(zoo / "squeezenet1.1.onnx", device="cpu", threads=1)
    found = explain(zoo / "chelsea.png")
    session = Session(load(zoo / "squeezenet1.1.onnx"), device="cpu", threads=1)

    def predict(batch: np.ndarray) -> np.ndarray:
        (z,) = session.run({explain.input.name: batch}, [session.outputs[0]])
        powers = np.exp(z.reshape(len(batch), -1) - z.max())
        return powers / powers.sum(1, keepdims=True)

    good = deletion(found, predict, steps=10)
    bad = deletion(replace(found, map=-found.map), predict, steps=10)
    assert 0 <= good < bad <= 1


def test_kinds_are_never_mixed() -> None:
    assert "deletion" in metrics.names("faithfulness")
    assert not set(metrics.names("faithfulness")) & set(metrics.names("localisation"))
    found = metrics.find("deletion")
    assert (found.kind, found.better) == ("faithfulness", "lower") and found.measure is deletion
    with pytest.raises(UsageError, match=r"no metric 'deletions'.*Choose one of .*deletion"):
        metrics.find("deletions")
    with pytest.raises(ValueError, match="cannot be of the kind"):
        metrics.metric("both", kind="quality", better="lower", cite="")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two metrics"):
        metrics.metric("deletion", kind="faithfulness", better="lower", cite="")(deletion)
