"""Metrics against literal values, closed forms and naive loops; one call for all of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import nets

from onnxcam import Explainer, metrics
from onnxcam.errors import InputError, ModelError, UsageError
from onnxcam.metrics.curves import nothing
from onnxcam.metrics.road import imputed

RNG = np.random.default_rng(8)
X = np.array([[[4.0, 3.0], [2.0, 1.0]]], "f4")


def _sum(batch: np.ndarray) -> np.ndarray:
    total = batch.reshape(len(batch), -1).sum(1)
    return np.stack([total, -total], 1)


def _measure(name: str, map: Any, x: Any = None, **more: Any) -> float:
    return metrics.measure(name, np.asarray(map, "f4"), tensor=x, **more)


# ---- by hand


def test_insertion_by_hand() -> None:
    """The sums 0, 4, 7, 9, 10 at 0, 1/4 ... 1."""
    got = _measure("insertion", X[0], X, predict=_sum, steps=4, baseline=0.0)
    assert got == pytest.approx((0 + 4 + 7 + 9 + 5) / 4)


def _share(batch: np.ndarray) -> np.ndarray:
    """Two probabilities: the mean of all values, and the rest."""
    mean = batch.reshape(len(batch), -1).mean(1)
    return np.stack([mean, 1 - mean], 1)


def test_drop_increase_and_gain_by_hand() -> None:
    """x = 0.4 everywhere, the map 0, 1/3, 2/3, 1: what is left has the mean 0.2."""
    x, map = np.full((1, 2, 2), 0.4, "f4"), [[1, 2], [3, 4]]
    assert _measure("average-drop", map, x, predict=_share) == pytest.approx(0.5)
    assert _measure("increase", map, x, predict=_share) == 0
    assert _measure("average-gain", map, x, predict=_share) == 0
    assert _measure("average-drop", map, x, predict=_share, target=1) == 0
    assert _measure("increase", map, x, predict=_share, target=1) == 1
    gain = _measure("average-gain", map, x, predict=_share, target=1)
    assert gain == pytest.approx((0.8 - 0.6) / 0.4)
    assert _measure("average-drop", map, x, predict=_share, baseline=0.4) == pytest.approx(
        0, abs=1e-6
    )


def test_localisation_by_hand() -> None:
    map, mask = [[4, 1], [2, -1]], np.array([[0, 0], [1, 1]])
    assert _measure("pointing-game", map, mask=mask) == 0
    assert _measure("pointing-game", map, mask=mask, tolerance=1) == 1
    assert _measure("pointing-game", [[1, 0], [1, 0]], mask=mask) == 0.5
    assert _measure("energy", map, mask=mask) == pytest.approx(2 / 7)
    assert _measure("iou", map, mask=mask) == pytest.approx(1 / 3)
    assert _measure("iou", map, mask=mask, quantile=0.75) == 0
    assert _measure("iou", map, mask=mask, quantile=0) == pytest.approx(1 / 4)
    assert np.isnan(_measure("energy", [[-1, 0], [0, 0]], mask=mask))


def test_complexity_by_hand() -> None:
    assert _measure("entropy", np.ones((2, 3))) == pytest.approx(1)
    assert _measure("entropy", [[0, -3], [0, 0]]) == 0
    assert _measure("entropy", [[1, 1], [0, 0]]) == pytest.approx(0.5)
    assert _measure("sparseness", np.ones(5)) == pytest.approx(0)
    assert _measure("sparseness", [0, 0, 0, 2]) == pytest.approx(3 / 4)
    assert _measure("sparseness", [1, 3]) == pytest.approx(1 / 4)
    assert np.isnan(_measure("entropy", [0, 0])) and np.isnan(_measure("sparseness", [0, 0]))


def test_infidelity_of_a_linear_model() -> None:
    """The shares w x say what every box does to the score, in any unit; noise does not."""
    x, w = RNG.normal(size=(2, 2, 6, 7)).astype("f4")

    def predict(batch: np.ndarray) -> np.ndarray:
        return (batch * w).sum((1, 2, 3))[:, None] + 3

    share = (w * x).sum(0)
    assert _measure("infidelity", share, x, predict=predict) == pytest.approx(0, abs=1e-8)
    assert _measure("infidelity", 7 * share, x, predict=predict) == pytest.approx(0, abs=1e-8)
    assert _measure("infidelity", share, x, predict=predict, scale=False) < 1e-8
    assert _measure("infidelity", 7 * share, x, predict=predict, scale=False) > 0.1
    assert _measure("infidelity", RNG.normal(size=(6, 7)), x, predict=predict) > 0.3
    assert np.isnan(_measure("infidelity", share, x, predict=lambda b: np.ones((len(b), 1))))


def test_max_sensitivity_of_a_linear_map() -> None:
    """M = x: the change of the map is that of the input, at most the radius a number."""
    x = np.ones((4, 5), "f4")
    got = _measure("max-sensitivity", x, x, explain=lambda other: other, radius=0.1, samples=40)
    assert 0.05 < got <= 0.1
    assert _measure("max-sensitivity", x, x, explain=lambda other: x) == 0
    assert np.isnan(_measure("max-sensitivity", 0 * x, x, explain=lambda other: x))


def test_composites_by_hand() -> None:
    """The map stays what it is (coherency 1), is 1/2 on average, and half the score is lost."""
    x, map = np.full((1, 2, 2), 0.4, "f4"), np.array([[1, 2], [3, 4]], "f4")
    got = _measure("adcc", map, x, predict=_share, explain=lambda other: map)
    assert got == pytest.approx(3 / (1 + 2 + 2), rel=1e-5)
    turned = _measure("adcc", map, x, predict=_share, explain=lambda other: -map)
    assert turned == pytest.approx(0, abs=1e-6)
    x, map = RNG.normal(size=(1, 8, 8)).astype("f4"), RNG.normal(size=(8, 8))
    road = _measure("road", map, x, predict=_sum, percentiles=(20, 40, 60, 80), noise=0)
    got = _measure("arcc", map, x, predict=_sum, explain=lambda other: map, noise=0)
    parts = 1, 1 - metrics.sample(map).map.mean(), np.clip(2 * road, 0, 1)
    low, high = map.min(), map.max()
    parts = 1, 1 - ((map - low) / (high - low)).mean(), np.clip(2 * road, 0, 1)
    assert got == pytest.approx(3 / sum(1 / (p + 1e-8) for p in parts), rel=1e-3, abs=1e-6)


# ---- ROAD


@pytest.mark.parametrize(("shape", "layout"), [((2, 5, 6), "CHW"), ((5, 6, 2), "HWC"),
                                               ((9,), "W"), ((1, 3, 4, 3), "CDHW")])  # fmt: skip
def test_made_up_places_are_means_of_their_neighbours(shape: Any, layout: str) -> None:
    x = RNG.normal(size=shape)
    channel = layout.index("C") if "C" in layout else None
    space = tuple(n for c, n in zip(layout, shape, strict=True) if c != "C")
    kept = RNG.random(space) < 0.4
    explained = metrics.sample(np.zeros(space), x, layout)
    made = imputed(explained, kept, 0, RNG)
    planes = made[None] if channel is None else np.moveaxis(made, channel, 0)
    before = x[None] if channel is None else np.moveaxis(x, channel, 0)
    np.testing.assert_array_equal(planes[:, kept], before[:, kept])
    for place in zip(*np.nonzero(~kept), strict=True):
        total, weights = 0.0, 0.0
        for other in np.ndindex(space):
            away = np.abs(np.subtract(other, place))
            if 0 < away.max() <= 1:
                weight = 0.5 ** (away.sum() - 1)
                total, weights = total + weight * planes[(slice(None), *other)], weights + weight
        np.testing.assert_allclose(planes[(slice(None), *place)], total / weights, atol=1e-9)


def test_road_tells_a_good_map_from_its_opposite() -> None:
    x = RNG.normal(size=(1, 9, 9)).astype("f4")
    x[0, 4, 4] = 30
    map = np.zeros((9, 9))
    map[4, 4] = 1
    map += 0.01 * RNG.random((9, 9))
    good, bad = (_measure("road", sign * map, x, predict=_sum) for sign in (1, -1))
    assert good > 5 and bad == pytest.approx(-good, rel=1e-3)
    assert _measure("road-morf", map, x, predict=_sum) < _measure("road-lerf", map, x, predict=_sum)


# ---- sanity


def test_randomised_models_lose_their_weights_from_the_top() -> None:
    proto = nets.cnn()
    made = dict(metrics.randomised(proto, most=10))
    weights = {t.name: t for t in proto.graph.initializer}
    changed = [
        {t.name for t in each.graph.initializer
         if t.name in weights and t.raw_data != weights[t.name].raw_data}
        for each in made.values()
    ]  # fmt: skip
    assert len(made) >= 2 and all(a < b for a, b in pairwise(changed))
    alone = [
        {t.name for t in each.graph.initializer
         if t.name in weights and t.raw_data != weights[t.name].raw_data}
        for _, each in metrics.randomised(proto, mode="independent", most=10)
    ]  # fmt: skip
    assert not alone[0] & alone[-1] and set().union(*alone) == changed[-1]
    for each in made.values():
        for tensor in each.graph.initializer:
            if tensor.name in weights:
                assert sorted(tensor.raw_data) == sorted(weights[tensor.name].raw_data)
    with pytest.raises(UsageError, match="no mode 'both'"):
        next(metrics.randomised(proto, mode="both"))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no node has weights"):
        next(metrics.randomised(nets.model(
            [nets.helper.make_node("Relu", ["x"], ["y"])], {"x": ["N", 2]}, {"y": ["N", 2]}, {}
        )))  # fmt: skip


def test_the_sanity_check_tells_a_gradient_from_an_edge_detector(zoo: Path) -> None:
    path, picture = zoo / "squeezenet1.1.onnx", zoo / "chelsea.png"
    explain = Explainer(path, device="cpu", threads=1)
    found = explain(picture)
    spec = explain.spec

    def again(model: Any) -> np.ndarray:
        other = Explainer(model, preprocess=spec, device="cpu", threads=1, cache=False)
        return other(picture, target=found.target).map

    maps = metrics.maps_of_randomised(path, again, most=2)
    got = metrics.measure("randomisation", found, randomised=maps.values())
    edges = metrics.BASELINES["edges"](found)
    blind = metrics.Sample(edges, found.tensor, found.layout, found.target)
    assert got < 0.6 and metrics.measure("randomisation", blind, randomised=[edges]) > 0.999
    with pytest.raises(UsageError, match="no maps of randomised"):
        metrics.measure("randomisation", found, randomised=[])


def test_rank_agreement_is_scipys() -> None:
    from scipy.stats import spearmanr

    maps = RNG.integers(0, 9, (3, 4, 5))
    got = metrics.rank_agreement(list(maps))
    want = spearmanr(maps.reshape(3, -1).T).statistic
    np.testing.assert_allclose(got, want, atol=1e-12)
    assert np.isnan(metrics.rank_agreement([maps[0], np.ones((4, 5))])[0, 1])
    with pytest.raises(UsageError, match="no places in common"):
        metrics.rank_agreement([maps[0], maps[0].T])


# ---- one way to call them


def test_every_metric_says_what_it_is() -> None:
    assert len(metrics.names()) >= 17
    for name in metrics.names():
        found = metrics.get(name)
        assert found.kind in metrics.KINDS and found.better in ("higher", "lower")
        assert found.cite and found.summary and name in metrics.names(found.kind)
        assert not {"mask"} & set(found.needs) or found.kind == "localisation"


@pytest.mark.parametrize("name", ["deletion", "energy", "max-sensitivity", "randomisation", "adcc"])
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} needs.*Give `{metrics.get(name).needs[0]}`"):
        metrics.measure(name, X[0], tensor=X)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(UsageError, match="the mask is empty"):
        _measure("energy", X[0], mask=np.zeros((2, 2)))
    with pytest.raises(UsageError, match=r"the mask is \[3\], the map \[2, 2\]"):
        _measure("iou", X[0], mask=np.ones(3))
    with pytest.raises(UsageError, match="1.5 is no quantile"):
        _measure("iou", X[0], mask=np.ones((2, 2)), quantile=1.5)
    with pytest.raises(InputError, match="map is not finite"):
        _measure("entropy", [[np.nan, 1]])
    with pytest.raises(UsageError, match="does not lie over"):
        _measure("road", np.ones((3, 3)), X, predict=_sum)
    with pytest.raises(UsageError, match="measure nothing"):
        _measure("infidelity", X[0], X, predict=_sum, samples=0)
    with pytest.raises(UsageError, match="measure nothing"):
        _measure("max-sensitivity", X[0], X, explain=lambda x: x, samples=0)


def test_layouts_of_arrays_are_found() -> None:
    assert metrics.sample(X[0], X).layout == "CHW"
    assert metrics.sample(X[0], np.moveaxis(X, 0, -1)).layout == "HWC"
    assert metrics.sample(X[0], X[0]).layout == "HW"
    assert metrics.sample(np.ones(3), np.ones((2, 3))).layout == "CW"
    assert metrics.sample(X[0], np.ones((7, 5))).layout is None


def test_a_table_has_baselines_beside(zoo: Path) -> None:
    explain = Explainer(zoo / "squeezenet1.1.onnx", device="cpu", threads=1)
    found = explain(zoo / "chelsea.png")
    mask = np.zeros(found.map.shape, bool)
    mask[40:200, 40:200] = True
    held = metrics.Evidence(explain.predict, mask)
    chosen = ["deletion", "energy", "pointing-game"]
    rows = metrics.table({"gradcam": found}, held, chosen, options={"deletion": {"steps": 2}})
    assert list(rows) == ["gradcam", "centre", "random", "edges"]
    assert all(list(row) == chosen for row in rows.values())
    assert rows["gradcam"]["energy"] > rows["random"]["energy"]
    assert rows["random"]["energy"] == pytest.approx(mask.mean(), abs=0.01)
    few = metrics.table({"a": found}, metrics.Evidence(mask=mask), baselines=False)
    assert set(few["a"]) == {*metrics.names("localisation"), *metrics.names("complexity")}


def test_a_predictor_answers_in_probabilities() -> None:
    explain = Explainer(nets.cnn(), device="cpu", threads=1, batch_size=2)
    x = RNG.normal(size=(5, 2, 6, 6)).astype("f4")
    found = explain.predict(x)
    assert found.shape == (5, 3) and np.allclose(found.sum(1), 1)
    for row, one in zip(found, explain(list(x[:, None])), strict=True):
        powers = np.exp(one.scores - one.scores.max())
        np.testing.assert_allclose(row, powers / powers.sum(), rtol=1e-5)


def test_a_blurred_input_keeps_its_channels_apart() -> None:
    x = np.stack([np.zeros((20, 20)), np.ones((20, 20))]).astype("f4")
    made = nothing(metrics.sample(np.zeros((20, 20)), x), "blur")
    np.testing.assert_allclose(made, x, atol=1e-6)
