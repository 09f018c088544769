"""Ready arrays: what passes, what is cast, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.preprocess_cases import described, model_input, photo

from onnxcam.errors import InputError
from onnxcam.inputs import InputSpec, prepare

BATCH = np.random.default_rng(2).standard_normal((2, 3, 4, 5)).astype(np.float32)
NCHW = model_input("n", 3, 4, 5)
READY = described(NCHW, "unit")


def test_ready_arrays_pass_untouched(tmp_path):
    np.save(tmp_path / "x.npy", BATCH)
    np.savez(tmp_path / "one.npz", anything=BATCH)
    np.savez(tmp_path / "two.npz", x=BATCH, y=BATCH + 1)
    for given in (BATCH, *(tmp_path / name for name in ("x.npy", "one.npz", "two.npz"))):
        result = prepare(given, READY, NCHW)
        np.testing.assert_array_equal(result.tensor, BATCH)
        assert result.tensor.dtype == np.float32
        assert (result.picture, result.box) == (None, None)
        assert result.source == ("array" if given is BATCH else str(given))


def test_tensors_are_contiguous_for_the_runtime():
    turned = np.asarray(BATCH.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2))
    assert not turned.flags.c_contiguous
    assert prepare(turned, READY, NCHW).tensor.flags.c_contiguous
    assert prepare(photo(5, 4), READY, NCHW).tensor.flags.c_contiguous


def test_layout_without_a_batch_axis_gets_none():
    into = model_input(4, 5, 1, layout="HWC")
    with pytest.raises(InputError, match=r"shape \[4, 5\]"):
        prepare(np.zeros((4, 5), "f4"), described(into, "none"), into)


def test_missing_batch_axis_is_added_where_the_layout_has_it():
    np.testing.assert_array_equal(prepare(BATCH[1], READY, NCHW).tensor, BATCH[1:])
    into = model_input(12, "n", "t", layout="CNT")
    assert prepare(np.ones((12, 7)), described(into), into).tensor.shape == (12, 1, 7)


@pytest.mark.parametrize(
    ("given", "taken"),
    [("float64", "float32"), ("float32", "float16"), ("float16", "float32"), ("int64", "int32"),
     ("uint8", "int64"), ("bool", "bool")],
)  # fmt: skip
def test_one_kind_of_numbers_is_cast(given, taken):
    into = model_input("n", 4, dtype=taken)
    values = np.array([[0, 1, 1, 0]]).astype(given)
    tensor = prepare(values, described(into), into).tensor
    assert tensor.dtype == taken
    np.testing.assert_array_equal(tensor, values)


def test_scalar_input_takes_a_scalar():
    into = model_input(dtype="int64")
    assert prepare(np.array(16000), described(into), into).tensor == 16000


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 3, 5, 4), "f4"), r"shape \[1, 3, 5, 4\], but .* takes \[n, 3, 4, 5\]"),
        (np.zeros((1, 1, 3, 4, 5), "f4"), r"shape \[1, 1, 3, 4, 5\]"),
        (np.zeros((4, 5), "f4"), r"shape \[4, 5\]"),
        (np.zeros((0, 3, 4, 5), "f4"), r"shape \[0, 3, 4, 5\]"),
        (np.zeros((1, 3, 4, 5), "u1"), r'holds uint8, .* takes float32.*astype\("float32"\)'),
        (np.zeros((1, 3, 4, 5), "i8"), "holds int64"),
        (np.zeros((1, 3, 4, 5), "c8"), "holds complex64"),
        (np.full((1, 3, 4, 5), 1e300), r"60 value\(s\) that are NaN or infinite in float32"),
    ],
)
def test_ready_arrays_that_do_not_fit_are_refused(array, message, tmp_path):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(InputError, match=message):
        prepare(tmp_path / "bad.npy", READY, NCHW)
    with pytest.raises(InputError, match=message):
        prepare(array, READY, NCHW)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_their_place(value):
    bad = BATCH.copy()
    bad[1, 2, 3, 4] = value
    with pytest.raises(InputError, match=r"1 value\(s\) .* the first at \[1, 2, 3, 4\]"):
        prepare(bad, READY, NCHW)


def test_integers_that_would_change_are_refused():
    into = model_input("n", 2, dtype="uint8")
    with pytest.raises(InputError, match="from -1 to 300, which uint8 cannot hold"):
        prepare(np.array([[-1, 300]]), described(into), into)


def test_integer_model_refuses_pixels_out_of_its_range():
    into = model_input(1, 3, 4, 4, dtype="uint8")
    spec = described(into, InputSpec(mean=128))
    with pytest.raises(InputError, match=r"which input .* cannot hold"):
        prepare(photo(4, 4), spec, into)


def test_bad_array_files_say_file_and_reason(tmp_path):
    np.savez(tmp_path / "two.npz", a=BATCH, b=BATCH)
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("nothing")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:-40])
    for name, message in [
        ("two.npz", r"holds no array called 'x' \(it holds: a, b\)"),
        ("pickled.npy", "is not a readable array"),
        ("text.npy", "is not a readable array"),
        ("empty.npz", r"is empty \(0 bytes\)"),
        ("cut.npz", "is not a readable array"),
        ("absent.npy", "does not exist"),
    ]:
        with pytest.raises(InputError, match=f"{re.escape(str(tmp_path / name))} {message}"):
            prepare(tmp_path / name, READY, NCHW)
