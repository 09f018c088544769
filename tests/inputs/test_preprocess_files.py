"""Descriptions in TOML files and in metadata: read, written, refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.preprocess_cases import described, model_input, photo

from onnxcam.errors import UsageError
from onnxcam.inputs import InputSpec, prepare, read_toml, to_metadata, write_toml
from onnxcam.inputs.files import read_metadata

WHOLE = """
layout = "NCHW"
size = [224, 224]
resize = "shortest"
resize_size = 256
interpolation = "bilinear"
channels = "RGB"
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
dtype = "float32"
labels = ["cat", "dog"]
"""


def test_whole_sidecar_says_what_imagenet_means(tmp_path):
    (tmp_path / "m.toml").write_text(WHOLE)
    into = model_input("N", 3, 224, 224)
    spec = described(into, path=tmp_path / "m.onnx")
    assert spec.labels == ("cat", "dog")
    assert spec.scale == 1 / 255
    a, b = (prepare(photo(300, 280), s, into) for s in (spec, described(into, "imagenet")))
    np.testing.assert_array_equal(a.tensor, b.tensor)


def test_labels_file_is_looked_for_beside_the_toml(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "m.toml").write_text('labels = "names.txt"')
    (tmp_path / "deep" / "names.txt").write_text("cat\ndog\n")
    monkeypatch.chdir(tmp_path)
    assert read_toml("deep/m.toml") == {"labels": ("cat", "dog")}
    (tmp_path / "deep" / "names.txt").unlink()
    with pytest.raises(UsageError, match=r"m\.toml: labels: .*names\.txt cannot be read"):
        read_toml("deep/m.toml")


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("channel", "Did you mean channels"),
        ("std_dev", "Did you mean std"),
        ("interpolate", "Did you mean interpolation"),
        ("means", "Did you mean mean"),
        ("zzz", "Known: layout, size, resize"),
        ("source", "Known: |Did you mean"),
    ],
)
def test_unknown_key_is_named_with_near_ones(key, hint, tmp_path):
    (tmp_path / "m.toml").write_text(f"{key} = 1")
    with pytest.raises(UsageError, match=rf"m\.toml: unknown key '{key}'\. ({hint})"):
        read_toml(tmp_path / "m.toml")


@pytest.mark.parametrize(
    "line",
    [
        'layout = "NCHH"', 'layout = "nchw"', 'layout = ""', "layout = 4", 'size = "224"',
        "size = 224", "size = [224]", "size = [0, 4]", "size = [1.5, 4]", "size = [true, 4]",
        'resize = "crop"', "resize = true", "resize_size = 256.0", "resize_size = 0",
        'interpolation = "Bilinear"', "interpolation = 2", 'channels = "BRG"', "channels = []",
        "scale = 0", "scale = inf", 'scale = "1/255"', "scale = true", "mean = [1, 2]",
        "mean = nan", 'mean = ["a"]', "mean = []", "std = 0", "std = [1, 0, 1]", "dtype = 32",
        'dtype = "float 32"', "labels = []", "labels = [1]", "labels = 5", 'pictures = "no"',
    ],
)  # fmt: skip
def test_wrong_values_are_named_with_what_is_expected(line, tmp_path):
    (tmp_path / "m.toml").write_text(line)
    with pytest.raises(UsageError) as caught:
        read_toml(tmp_path / "m.toml")
    assert f"m.toml: {line.split()[0]} = " in caught.value.message
    assert caught.value.hint.startswith("Give ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('resize = "shortest"', "without resize_size"),
        ("resize_size = 256", "without a resize that uses it"),
        ('resize = "none"\nresize_size = 256', "without a resize that uses it"),
        ("size = [224, 224", "is not TOML"),
        ("a = 1\na = 2", "is not TOML"),
    ],
)
def test_files_that_make_no_sense(text, message, tmp_path):
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(UsageError, match=rf"m\.toml.* {message}"):
        read_toml(tmp_path / "m.toml")


def test_file_that_is_no_text(tmp_path):
    (tmp_path / "m.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not text in UTF-8"):
        read_toml(tmp_path / "m.toml")


def test_description_in_python_is_checked_too():
    with pytest.raises(UsageError, match="InputSpec: resize = 'crop'"):
        InputSpec(resize="crop")
    with pytest.raises(UsageError, match="InputSpec: mean"):
        InputSpec(mean=(1.0, 2.0))
    assert InputSpec(mean=[1, 2, 3], std=2) == InputSpec(mean=(1.0, 2.0, 3.0), std=(2.0,))


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NONZERO = NUMBERS.filter(bool)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
SPECS = st.builds(
    InputSpec,
    layout=st.none() | st.sampled_from(["NCHW", "NHWC", "HWC"]),
    size=st.none() | st.tuples(st.integers(1, 999), st.integers(1, 999)),
    interpolation=st.sampled_from(["bilinear", "bicubic", "nearest", "lanczos"]),
    channels=st.none() | st.sampled_from(["RGB", "BGR", "GRAY"]),
    scale=NONZERO,
    mean=st.tuples(NUMBERS) | st.tuples(NUMBERS, NUMBERS, NUMBERS),
    std=st.tuples(NONZERO) | st.tuples(NONZERO, NONZERO, NONZERO),
    dtype=st.none() | st.just("float16"),
    labels=st.none() | st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    pictures=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(SPECS)
@example(InputSpec(labels=('\x7f\0\n\t"\\ #', "größer ねこ")))
def test_written_description_reads_back_the_same(tmp_path_factory, spec):
    path = tmp_path_factory.mktemp("toml") / "m.toml"
    write_toml(spec, path)
    assert InputSpec(**read_toml(path)) == spec
    assert os.listdir(path.parent) == ["m.toml"]


def test_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "m.toml"
    path.write_text("scale = 2")

    def fail(source, target):
        assert "scale = 3.0" in Path(source).read_text()
        raise OSError("disk on fire")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UsageError, match=r"m\.toml cannot be written: disk on fire"):
        write_toml(InputSpec(scale=3), path)
    assert os.listdir(tmp_path) == ["m.toml"]
    assert path.read_text() == "scale = 2"
    with pytest.raises(UsageError, match="cannot be written"):
        write_toml(InputSpec(), tmp_path / "absent" / "m.toml")


# --- Metadata ---------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(SPECS)
def test_metadata_reads_back_the_same(spec):
    metadata = to_metadata(spec)
    assert all(key.startswith("onnxcam.input.") for key in metadata)
    assert all(isinstance(value, str) for value in metadata.values())
    assert InputSpec(**read_metadata(metadata)) == spec


def test_metadata_takes_plain_words_and_refuses_unknown_keys():
    into = model_input(1, 3, 3, 3)
    metadata = {"onnxcam.input.layout": "NHWC", "onnxcam.input.channels": "BGR", "author": "me"}
    spec = described(into, metadata=metadata)
    assert (spec.layout, spec.channels) == ("NHWC", "BGR")
    with pytest.raises(UsageError, match=r"metadata.*unknown key 'chanels'. Did you mean channels"):
        described(into, metadata={"onnxcam.input.chanels": "BGR"})


@pytest.mark.parametrize(
    ("said", "want"),
    [
        (("Rgb8", "NominalRange_0_255"), [255, 0, 51]),
        (("Bgr8", "NominalRange_0_255"), [51, 0, 255]),
        (("RGB8", "normalized_0_1"), [1, 0, 0.2]),
        (("Rgb8", "Normalized_1_1"), [1, -1, -0.6]),
        (("Rgb8", "NominalRange_16_235"), [235, 16, 59.8]),
    ],
)
def test_onnx_image_metadata_gives_order_and_range(said, want):
    into = model_input(1, 3, 2, 2)
    metadata = {
        "Image.BitmapPixelFormat": said[0],
        "IMAGE.NominalPixelRange": said[1],
        "Image.ColorSpaceGamma": "SRGB",
    }
    spec = described(into, metadata=metadata)
    tensor = prepare(np.full((2, 2, 3), [255, 0, 51], np.uint8), spec, into).tensor
    np.testing.assert_allclose(tensor[0, :, 0, 0], want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "metadata",
    [
        {"Image.BitmapPixelFormat": "Rgb8"},
        {"Image.NominalPixelRange": "Normalized_0_1"},
        {"Image.BitmapPixelFormat": "Rgba8", "Image.NominalPixelRange": "Normalized_0_1"},
        {
            "Image.BitmapPixelFormat": "Rgb8",
            "Image.NominalPixelRange": "Normalized_0_1",
            "Image.ColorSpaceGamma": "Linear",
        },
    ],
)
def test_half_said_image_metadata_says_nothing(metadata):
    with pytest.raises(UsageError, match="Nothing says"):
        described(model_input(1, 3, 2, 2), metadata=metadata)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ("{0: 'person', 1: 'bicycle'}", ("person", "bicycle")),
        ("['a', 'b']", ("a", "b")),
        ("{0: 'person', 2: 'car'}", None),
        ("person, bicycle", None),
        ("__import__('os').getcwd()", None),
        ("{}", None),
        ("{[]: 1}", None),
        ("(" * 5000, None),
    ],
)
def test_names_in_metadata_are_labels(names, labels):
    spec = described(model_input(1, 3, 2, 2), "unit", metadata={"names": names})
    assert spec.labels == labels
    assert spec.source.get("labels") == (labels and "metadata names")
