"""The resampling convention: literal values, a naive oracle, and ONNX Runtime's own Resize."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from skimage.transform import warp

from onnxcam.errors import InputError, UsageError
from onnxcam.output import upsample as upsample_module
from onnxcam.output.upsample import upsample

Floats = NDArray[Any]


def naive_bicubic(values: Floats, samples: int) -> Floats:
    """Keys' kernel written out tap by tap, for one axis."""
    n = len(values)
    out = np.zeros(samples)
    for i in range(samples):
        x = (i + 0.5) * n / samples - 0.5
        for tap in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
            d = abs(x - tap)
            inner = 1.5 * d**3 - 2.5 * d**2 + 1
            outer = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
            weight = inner if d <= 1 else outer if d < 2 else 0.0
            out[i] += weight * values[min(max(tap, 0), n - 1)]
    return out


def onnx_resize(values: Floats, size: tuple[int, ...], **attributes: Any) -> Floats:
    """Run ONNX Resize on one map under two leading axes."""
    x = values.astype(np.float32)[None, None]
    node = helper.make_node(
        "Resize",
        ["x", "", "", "s"],
        ["y"],
        coordinate_transformation_mode="half_pixel",
        **attributes,
    )
    graph = helper.make_graph(
        [node],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("s", TensorProto.INT64, [x.ndim], (1, 1, *size))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    result: Floats = session.run(None, {"x": x})[0][0, 0]
    return result


def test_bicubic_has_the_literal_values_of_a_doubled_step() -> None:
    # Weights at t = 1/4 and 3/4 are (-9, 111, 29, -3) / 128 and their mirror.
    result = upsample(np.array([0.0, 0.0, 128.0, 128.0]), (8,))
    np.testing.assert_array_equal(result, [0, -3, -9, 26, 102, 137, 131, 128])
    assert result.dtype == np.float32


@pytest.mark.parametrize(("n", "samples"), [(7, 20), (1, 5), (2, 3), (9, 4), (3, 224)])
def test_bicubic_is_the_naive_kernel(n: int, samples: int) -> None:
    values = np.random.default_rng(n).standard_normal(n)
    np.testing.assert_allclose(
        upsample(values, (samples,)), naive_bicubic(values, samples), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    ("shape", "size"), [((4, 5), (9, 8)), ((2, 3, 4), (5, 3, 9)), ((3, 1, 2), (1, 4, 5))]
)
def test_bicubic_is_the_same_kernel_along_every_axis(
    shape: tuple[int, ...], size: tuple[int, ...]
) -> None:
    values = np.random.default_rng(0).standard_normal(shape)
    expected = values
    for axis, samples in enumerate(size):
        expected = np.apply_along_axis(naive_bicubic, axis, expected, samples)
    np.testing.assert_allclose(upsample(values, size), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((7, 7), (224, 224)), ((14, 9), (100, 333)), ((1, 5), (3, 40)), ((7, 7), (5, 4))],
)
def test_bicubic_is_onnx_resize(shape: tuple[int, int], size: tuple[int, int]) -> None:
    values = np.random.default_rng(1).standard_normal(shape)
    expected = onnx_resize(values, size, mode="cubic", cubic_coeff_a=-0.5, exclude_outside=0)
    # ONNX Runtime computes coordinates in float32: 333 samples cost about 3e-6.
    np.testing.assert_allclose(upsample(values, size), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("count", "samples"), [(7, 224), (13, 13 * 17), (1, 9), (50, 3), (300, 1100), (999, 700)]
)
def test_bicubic_is_scikit_images_warp_bit_for_bit(count: int, samples: int) -> None:
    image = np.random.default_rng(count).standard_normal((count, 5))
    step = count / samples
    to_input = np.array([[1, 0, 0], [0, step, 0.5 * step - 0.5], [0, 0, 1]])
    expected = warp(
        image, to_input, output_shape=(samples, 5), order=3, mode="edge", clip=False,
        preserve_range=True,
    )  # fmt: skip
    np.testing.assert_array_equal(upsample_module._convolved(image, samples), expected)


@pytest.mark.parametrize("other", [{"cubic_coeff_a": -0.75}, {"exclude_outside": 1}])
def test_the_onnx_attributes_matter(other: dict[str, float]) -> None:
    values = np.random.default_rng(1).standard_normal((7, 7))
    expected = onnx_resize(values, (28, 28), mode="cubic", **{"cubic_coeff_a": -0.5} | other)
    assert np.abs(upsample(values, (28, 28)) - expected).max() > 0.05


@pytest.mark.parametrize(
    ("shape", "size"),
    [((7, 7), (224, 224)), ((2, 10), (3, 25)), ((1, 9), (6, 4)), ((2, 3, 2), (3, 7, 4))],
)
def test_nearest_is_onnx_resize(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    values = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    expected = onnx_resize(values, size, mode="nearest", nearest_mode="round_prefer_ceil")
    np.testing.assert_array_equal(upsample(values, size, "nearest"), expected)


@pytest.mark.parametrize("bad", [False, True])
def test_large_maps_are_resampled_without_a_matrix(
    bad: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(4).normal(size=(2, 9, 7))
    if bad:
        values[0, 3, 5] = np.inf
    by_matrix = upsample(values, (20, 33))
    monkeypatch.setattr(upsample_module, "_MATRIX", 0)
    monkeypatch.delattr(upsample_module, "_matrix")
    np.testing.assert_array_max_ulp(upsample(values, (20, 33)), by_matrix, 2)


def test_nearest_takes_the_later_of_two_equally_near_samples() -> None:
    np.testing.assert_array_equal(upsample(np.array([5, -6]), (3,), "nearest"), [5, -6, -6])


def test_none_leaves_the_map_at_its_own_size() -> None:
    values = np.array([[1.5, -2.0]])
    result = upsample(values, (4, 4), "none")
    np.testing.assert_array_equal(result, values)
    assert result.dtype == np.float32


def test_the_result_shares_no_memory_with_the_map() -> None:
    values = np.ones((2, 2), np.float32)
    for method in ("bicubic", "nearest", "none"):
        assert not np.shares_memory(upsample(values, (2, 2), method), values)


@pytest.mark.parametrize("method", ["bicubic", "nearest"])
def test_leading_axes_are_resampled_one_by_one(method: Any) -> None:
    values = np.random.default_rng(3).standard_normal((2, 3, 4, 5))
    result = upsample(values, (6, 7), method)
    assert result.shape == (2, 3, 6, 7)
    for n in range(2):
        for k in range(3):
            np.testing.assert_array_equal(result[n, k], upsample(values[n, k], (6, 7), method))


def test_overshoot_is_kept_and_bounded_as_documented() -> None:
    ripple = upsample(np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0]), (6001,))
    assert ripple.min() == pytest.approx(-1 / 8, abs=1e-6)
    taps = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    signs = np.where(taps == 1, 1, -1)
    worst = (np.outer(signs, signs) > 0).astype(float)
    assert upsample(worst, (601, 601)).max() == pytest.approx(1 + 9 / 32, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    constant=st.floats(-(2.0**99), 2.0**99, width=32),
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    size=st.lists(st.integers(1, 9), min_size=3, max_size=3),
)
def test_a_constant_stays_exactly_constant(
    constant: float, shape: list[int], size: list[int]
) -> None:
    target = tuple(size[: len(shape)])
    result = upsample(np.full(shape, constant), target)
    np.testing.assert_array_equal(result, np.full(target, constant, np.float32))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(-100, 100))
def test_bicubic_is_linear(seed: int, scale: float) -> None:
    a, b = np.random.default_rng(seed).standard_normal((2, 3, 4))
    left = upsample(a + scale * b, (8, 7))
    right = upsample(a, (8, 7)) + scale * upsample(b, (8, 7))
    np.testing.assert_allclose(left, right, atol=1e-5 * (1 + abs(scale)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_value_spoils_the_samples_that_weigh_it_and_no_others(bad: float) -> None:
    values = np.random.default_rng(4).standard_normal((3, 7, 7))
    spoilt = values.copy()
    spoilt[1, 3, 3] = bad
    clean = upsample(values, (70, 70))
    result = upsample(spoilt, (70, 70))
    touched = np.zeros(result.shape, bool)
    touched[1, 15:55, 15:55] = True  # centre 34.5, less than two cells of ten samples
    np.testing.assert_array_equal(np.isnan(result), touched)
    np.testing.assert_array_equal(result[~touched], clean[~touched])


def test_nearest_copies_bad_values() -> None:
    result = upsample(np.array([np.nan, 1.0, np.inf]), (6,), "nearest")
    np.testing.assert_array_equal(result, [np.nan, np.nan, 1, 1, np.inf, np.inf])


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint8, np.bool_])
def test_any_real_dtype_comes_out_as_float32(dtype: Any) -> None:
    result = upsample(np.array([0, 1], dtype), (4,))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, naive_bicubic(np.array([0.0, 1.0]), 4), atol=1e-7)


@pytest.mark.parametrize(
    ("map", "size", "method", "error", "words"),
    [
        (np.ones((2, 2)), (4, 4), "linear", UsageError, "unknown method 'linear'"),
        (np.ones((2, 2)), (), "bicubic", UsageError, "one to three positive integers"),
        (np.ones((2, 2)), (4, 0), "bicubic", UsageError, "one to three positive integers"),
        (np.ones((2, 2)), (4, 2.5), "nearest", UsageError, "one to three positive integers"),
        (np.ones((1, 1, 1, 1)), (2, 2, 2, 2), "none", UsageError, "one to three"),
        (np.ones(3), (4, 4), "bicubic", InputError, "fewer axes"),
        (np.ones((0, 3)), (4, 4), "bicubic", InputError, "has no values"),
        (np.ones((2, 2), complex), (4, 4), "bicubic", InputError, "complex128"),
        (np.array([["a"]]), (4, 4), "nearest", InputError, "no real numbers"),
    ],
)
def test_what_cannot_be_resampled_is_said(
    map: Floats, size: tuple[int, ...], method: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        upsample(map, size, method)
