"""Where the description of an input comes from, and what contradicts the model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.preprocess_cases import described, model_input, photo

from onnxcam.cli.group import spoken
from onnxcam.errors import UsageError
from onnxcam.inputs import PRESETS, InputSpec, prepare, presets, to_metadata, write_toml

PLACES = ("option", "sidecar", "metadata", "image metadata", "hugging face")


def say(places, folder):
    """Describe one model in several places, each with a scale of its own."""
    model = folder / "model.onnx"
    metadata = {}
    option = None
    if "option" in places:
        option = folder / "mine.toml"
        option.write_text("scale = 2")
    if "sidecar" in places:
        (folder / "model.toml").write_text("scale = 3")
    if "metadata" in places:
        metadata["onnxcam.input.scale"] = "4"
    if "image metadata" in places:
        metadata["Image.BitmapPixelFormat"] = "Bgr8"
        metadata["Image.NominalPixelRange"] = "Normalized_0_1"
    if "hugging face" in places:
        config = {"do_resize": False, "rescale_factor": 6, "do_normalize": False}
        (folder / "preprocessor_config.json").write_text(json.dumps(config))
    return {"path": model, "metadata": metadata, "option": option}


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_first_place_wins_and_is_named(first, tmp_path):
    spec = described(model_input(1, 3, 8, 8), **say(PLACES[first:], tmp_path))
    assert spec.scale == (2, 3, 4, 1 / 255, 6)[first]
    name = ("mine.toml", "model.toml", "onnxcam.input", "Image.", "preprocessor_config.json")[first]
    assert name in spec.source["scale"]
    # The rule comes as a whole: BGR is said with the 1/255, and by nobody else.
    assert spec.channels == ("BGR" if PLACES[first] == "image metadata" else "RGB")
    assert spec.source["size"] == "the model"


def test_labels_and_layout_come_from_a_later_place(tmp_path):
    (tmp_path / "model.toml").write_text('layout = "NHWC"\nlabels = ["cat", "dog"]\nscale = 3')
    into = model_input(1, 3, 3, 3)  # the shape alone does not say which
    spec = described(into, "unit", path=tmp_path / "model.onnx")
    assert (spec.layout, spec.labels, spec.scale) == ("NHWC", ("cat", "dog"), 1 / 255)
    assert spec.source["labels"] == "model.toml"
    assert spec.source["scale"] == "preset unit"


def test_nothing_said_is_an_error_that_shows_what_to_type(tmp_path):
    with pytest.raises(UsageError) as caught:
        described(model_input("N", 3, 224, 224), path=tmp_path / "net.onnx")
    assert "'x' float32[N, 3, 224, 224]" in caught.value.message
    assert "net.toml" in caught.value.message
    assert "try_presets(model, picture)" in caught.value.hint
    assert "`preprocess=imagenet|keras-tf|keras-caffe|unit|raw|none`" in caught.value.hint
    assert "`onnxcam inputs MODEL IMAGE`" in spoken(caught.value)
    assert "--preprocess imagenet|keras-tf|keras-caffe|unit|raw|none" in spoken(caught.value)


@pytest.mark.parametrize("shape", [(1, None, None, None), (1, 3, 1, 1), ("n", 1, 8, 3)])
def test_nothing_said_of_four_unclear_axes_is_an_error(shape):
    with pytest.raises(UsageError, match="Nothing says"):
        described(model_input(*shape))


@pytest.mark.parametrize(
    ("shape", "layout"), [(("n", 12, None), "NCT"), ((1, 64), None), ((1, 12, 1, 9), "NCHW")]
)
def test_input_that_is_no_picture_takes_ready_arrays(shape, layout):
    spec = described(model_input(*shape, layout=layout))
    assert not spec.pictures
    assert (spec.layout, spec.dtype) == (layout, "float32")


def test_labels_alone_describe_no_pixels(tmp_path):
    (tmp_path / "model.toml").write_text('labels = ["cat"]\nsize = [8, 8]')
    with pytest.raises(UsageError, match="Nothing says"):
        described(model_input(1, 3, 8, 8), path=tmp_path / "model.onnx")
    (tmp_path / "vowels.toml").write_text('labels = ["a", "e"]\nlayout = "NCW"')
    spec = described(model_input("N", 12, "T"), path=tmp_path / "vowels.onnx")
    assert (spec.pictures, spec.labels, spec.layout) == (False, ("a", "e"), "NCW")


@pytest.mark.parametrize(
    ("shape", "size", "resize_size"),
    [
        ((1, 3, 224, 224), (224, 224), 256),
        ((1, 3, 160, 160), (160, 160), 183),
        (("N", "H", "W", 3), (224, 224), 256),
        ((1, 3, 240, 320), (240, 320), 274),
    ],
)
def test_imagenet_follows_the_models_size(shape, size, resize_size):
    spec = described(model_input(*shape), "imagenet")
    assert (spec.size, spec.resize, spec.resize_size) == (size, "shortest", resize_size)


def test_free_height_and_width_take_the_picture_as_it_is_or_the_size_said(tmp_path):
    into, image = model_input("N", 3, "H", "W"), photo(31, 22)
    spec = described(into, "raw")
    assert (spec.size, spec.resize) == (None, "none")
    result = prepare(image, spec, into)
    np.testing.assert_array_equal(result.tensor[0], np.array(image).transpose(2, 0, 1))
    assert result.box == (0, 0, 31, 22)
    sized = described(into, InputSpec(size=(5, 6)))
    assert prepare(image, sized, into).tensor.shape == (1, 3, 5, 6)
    shortest = described(into, InputSpec(resize="shortest", resize_size=44))
    assert prepare(image, shortest, into).tensor.shape == (1, 3, 44, 62)


def test_first_labels_and_size_win(tmp_path):
    (tmp_path / "model.toml").write_text('labels = ["cat"]\nsize = [8, 8]\nscale = 3')
    (tmp_path / "mine.toml").write_text('labels = ["dog"]\nsize = [9, 9]')
    into = model_input(1, 3, "h", "w")
    spec = described(into, tmp_path / "mine.toml", path=tmp_path / "model.onnx")
    assert (spec.labels, spec.size, spec.scale) == (("dog",), (9, 9), 3)


@pytest.mark.parametrize(
    ("shape", "wrong"), [((1, 3, 8, 3), "a layout"), ((1, 3, "h", 224), "one")]
)
def test_presets_do_not_guess_layout_or_half_a_size(shape, wrong):
    with pytest.raises(UsageError, match=f"preset imagenet .*{wrong}"):
        described(model_input(*shape), "imagenet")


CONTRADICTIONS = [
    ((1, 3, 8, 8), "size = [8, 9]\nscale = 1", "size [8, 9], but input 'x' float32[1, 3, 8, 8]"),
    ((1, 3, "h", 8), "scale = 1", "fixes only one side"),
    ((1, 3, "h", 8), "size = [8, 9]\nscale = 1", "says size [8, 9]"),
    ((1, 3, 8, 8), 'layout = "NHWC"\nscale = 1', "describes pictures"),
    ((1, 3, 8, 8), 'layout = "NCW"', "layout NCW (3 axes)"),
    ((1, 12, 1, 8), "scale = 1", "a layout that nothing says"),
    ((1, 3, 8, 8), 'channels = "GRAY"', "has 3 channel(s)"),
    ((1, 1, 8, 8), 'channels = "RGB"', "has 1 channel(s)"),
    ((1, 1, 8, 8), "mean = [1, 2, 3]", "3 numbers for mean"),
    ((1, 1, 8, 8), "std = [1, 2, 3]", "3 numbers for std"),
    ((1, 3, 8, 8), 'dtype = "float16"\nscale = 1', "says float16"),
    ((1, 9), "scale = 1", "describes pictures"),
]


@pytest.mark.parametrize(("shape", "toml", "message"), CONTRADICTIONS)
def test_contradictions_name_the_place_and_the_input(shape, toml, message, tmp_path):
    (tmp_path / "m.toml").write_text(toml)
    with pytest.raises(UsageError) as caught:
        described(model_input(*shape), path=tmp_path / "m.onnx")
    assert caught.value.message.startswith("m.toml ")
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("preset", ["imagenet", "keras-caffe"])
def test_colour_presets_refuse_one_channel(preset):
    with pytest.raises(UsageError, match=f"preset {preset} says (RGB|BGR).*1 channel"):
        described(model_input(1, 1, 28, 28), preset)


@pytest.mark.parametrize("option", ["imagenet", "unit", "keras-tf", "keras-caffe"])
def test_integer_models_refuse_fractions(option):
    with pytest.raises(UsageError, match=r"takes whole numbers.*`preprocess=raw`"):
        described(model_input(1, 3, 8, 8, dtype="uint8"), option)


def test_presets_are_in_order_and_cannot_be_changed():
    names = ["imagenet", "keras-tf", "keras-caffe", "unit", "raw", "none"]
    assert list(presets()) == list(PRESETS) == names
    with pytest.raises(TypeError):
        PRESETS["mine"] = InputSpec()


def test_unknown_option_shows_near_presets_or_all():
    with pytest.raises(UsageError, match=r"'imagnet'\. Did you mean imagenet"):
        described(model_input(1, 3, 8, 8), "imagnet")
    with pytest.raises(UsageError, match="Known: imagenet, keras-tf"):
        described(model_input(1, 3, 8, 8), "qqq")
    with pytest.raises(UsageError, match=r"absent\.toml cannot be read"):
        described(model_input(1, 3, 8, 8), Path("absent.toml"))


@pytest.mark.parametrize("option", list(PRESETS))
@pytest.mark.parametrize("shape", [(1, 3, 8, 9), ("n", "h", "w", 3)])
def test_resolving_again_changes_nothing(option, shape, tmp_path):
    into = model_input(*shape)
    spec = described(into, option)
    assert described(into, spec) == spec
    assert described(into, metadata=to_metadata(spec)) == spec
    write_toml(spec, tmp_path / "m.toml")
    assert described(into, path=tmp_path / "m.onnx") == spec
