"""Maps in numbers, and two maps against each other: literal values, scipy, naive NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from onnxcam.audit.compare.maps import agreement, earth_movers
from onnxcam.audit.summary import entropy, in_view, kept, reduced, summary

stats = pytest.importorskip("scipy.stats")


def test_a_summary_of_one_place() -> None:
    m = np.zeros((10, 20), np.float32)
    m[2, 15] = 4
    mask = np.zeros_like(m, bool)
    mask[2:4, 14:17] = True
    found = summary(m, mask)
    assert found["peak_value"] == 4 and found["entropy"] == 0
    assert found["peak_y"] == pytest.approx(0.25) and found["peak_x"] == pytest.approx(0.775)
    assert found["object_energy"] == 1 and found["pointing_hit"] is True
    assert found["border_share"] == 0 and found["corner_share"] == 0
    m[:] = 1
    found = summary(m, mask)
    assert found["entropy"] == pytest.approx(1)
    assert found["border_share"] == pytest.approx(1 - 8 * 16 / 200)
    assert found["corner_share"] == pytest.approx(2 * 5 / 200)
    assert found["object_energy"] == pytest.approx(6 / 200) == found["object_area"]


def test_a_map_that_is_nowhere_positive_claims_nothing() -> None:
    found = summary(-np.ones((8, 8)), np.ones((8, 8), bool))
    assert "object_energy" not in found and "border_share" not in found


def test_negative_and_infinite_values_do_not_count() -> None:
    m = np.array([[-5.0, 0.0], [np.nan, 2.0]])
    assert summary(m)["peak_value"] == 2
    assert entropy(np.array([0.5, 0.5, 0, 0])) == pytest.approx(0.5)


def test_what_lies_beyond_the_picture_is_no_object() -> None:
    mask = np.ones((4, 8), bool)
    found = in_view(mask, (-4, 0, 4, 4), (4, 8))
    assert not found[:, :4].any() and found[:, 4:].all()


@pytest.mark.parametrize(("n", "length"), [(6, 3), (7, 4), (10, 7), (5, 5)])
def test_reduction_keeps_the_sum(n: int, length: int) -> None:
    x = np.random.default_rng(0).random((n, 3))
    found = reduced(x, 0, length)
    assert found.shape == (length, 3)
    np.testing.assert_allclose(found.mean(0), x.mean(0))


def test_a_map_is_kept_as_half_precision() -> None:
    x = np.random.default_rng(1).random((100, 70)).astype(np.float32)
    found = kept(x)
    assert found.shape == (64, 64) and found.dtype == np.float16
    tiny = kept(x * 1e-9)
    assert np.corrcoef(tiny.ravel(), found.ravel())[0, 1] > 0.999
    assert np.isfinite(kept(x * 1e30)).all()


@pytest.mark.parametrize("seed", range(3))
def test_agreement_is_that_of_the_libraries(seed: int) -> None:
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 6, (9, 7)).astype(float), rng.integers(0, 6, (9, 7)).astype(float)
    found = agreement(a, b)
    assert found["spearman"] == pytest.approx(stats.spearmanr(a.ravel(), b.ravel()).statistic)
    assert found["pearson"] == pytest.approx(stats.pearsonr(a.ravel(), b.ravel()).statistic)
    want = structural_similarity(a / a.max(), b / b.max(), win_size=7, data_range=1)
    assert found["ssim"] == pytest.approx(want)
    top = [set(sorted(range(63), key=lambda i, m=m: (-m.ravel()[i], i))[:13]) for m in (a, b)]
    assert found["iou"] == pytest.approx(len(top[0] & top[1]) / len(top[0] | top[1]))


@pytest.mark.parametrize("seed", range(3))
def test_earth_movers_distance_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((3, 4)), rng.random((3, 4))
    y, x = np.mgrid[:3, :4]
    places = np.stack([y.ravel() / 3, x.ravel() / 4], 1)
    cost = np.abs(places[:, None] - places[None]).sum(-1)
    # The transport problem, written out.
    from scipy.optimize import linprog

    n = 12
    rows = np.kron(np.eye(n), np.ones(n))
    columns = np.kron(np.ones(n), np.eye(n))
    p, q = (m.ravel() / m.sum() for m in (a, b))
    want = linprog(cost.ravel(), A_eq=np.r_[rows, columns][:-1], b_eq=np.r_[p, q][:-1]).fun
    assert earth_movers(a, b) == pytest.approx(want, abs=1e-9)
    line = rng.random(7), rng.random(7)
    want = stats.wasserstein_distance(range(7), range(7), *line) / 7
    assert earth_movers(*line) == pytest.approx(want)


def test_equal_and_constant_maps() -> None:
    a = np.random.default_rng(2).random((7, 7))
    same = agreement(a, a)
    assert same["spearman"] == same["ssim"] == same["iou"] == 1 and same["emd"] == 0
    flat = agreement(a, np.ones_like(a))
    assert "spearman" not in flat and flat["emd"] is not None
    assert agreement(a, np.zeros_like(a))["emd"] is None


def test_maps_of_two_sizes_meet_on_the_coarser_grid() -> None:
    a = np.random.default_rng(3).random((7, 7))
    assert agreement(np.kron(a, np.ones((2, 2))), a)["spearman"] == pytest.approx(1)


def test_maps_over_different_parts_of_a_picture_meet_where_both_saw_it() -> None:
    from onnxcam.audit.work.pairing import _cut

    # One model saw columns 0 to 8 of a picture, the other 4 to 12; both look at column 6.
    whole = np.zeros((8, 12))
    whole[:, 6] = 1
    first, second = whole[:, :8], whole[:, 4:]
    box = (4, 0, 8, 8)
    cut = _cut(first, (0, 0, 8, 8), box), _cut(second, (4, 0, 12, 8), box)
    np.testing.assert_array_equal(*cut)
    assert cut[0].argmax(1)[0] == 32 and agreement(*cut)["spearman"] == pytest.approx(1)
    assert agreement(first, second)["spearman"] < 0.5  # type: ignore[operator]


def test_the_features_of_a_table_have_no_border() -> None:
    assert "border_share" in summary(np.ones(10))
    assert "border_share" not in summary(np.ones(10), ordered=False)
