"""Odd image files, arrays that are pictures, and the files and arrays that are refused."""

from __future__ import annotations

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from support.preprocess_cases import described, model_input, photo

from onnxcam.errors import InputError, UsageError
from onnxcam.inputs import InputSpec, prepare, tensor
from onnxcam.inputs.picture import open_picture, picture_in

INTO = model_input("n", "h", "w", 3)
SPEC = described(INTO, "raw")


def pixels_of(x):
    """The pixels as the model gets them: [H, W, 3]."""
    result = prepare(x, SPEC, INTO)
    np.testing.assert_array_equal(result.tensor[0], result.picture)
    return result.picture


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


# --- Image files ------------------------------------------------------------------------

QUARTERS = np.arange(6, dtype=np.uint8).reshape(2, 3)  # 0 1 2 / 3 4 5
UPRIGHT = {
    1: [[0, 1, 2], [3, 4, 5]],
    2: [[2, 1, 0], [5, 4, 3]],
    3: [[5, 4, 3], [2, 1, 0]],
    4: [[3, 4, 5], [0, 1, 2]],
    5: [[0, 3], [1, 4], [2, 5]],
    6: [[3, 0], [4, 1], [5, 2]],
    7: [[5, 2], [4, 1], [3, 0]],
    8: [[2, 5], [1, 4], [0, 3]],
}


@pytest.mark.parametrize(("orientation", "want"), UPRIGHT.items())
def test_exif_turns_the_picture_upright(orientation, want, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(QUARTERS), "x.png", exif=exif)
    result = prepare(path, SPEC, INTO)
    np.testing.assert_array_equal(result.picture[..., 0], want)
    assert result.box == (0, 0, *np.shape(want)[::-1])
    assert result.source == str(path)


def test_palette_and_transparency_lie_on_white(tmp_path):
    palette = Image.new("P", (3, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0, 9, 9, 9])
    palette.putdata([0, 1, 2])
    want = [[[255, 0, 0], [0, 255, 0], [255, 255, 255]]]
    clear = saved(tmp_path, palette, "p.png", transparency=2)
    np.testing.assert_array_equal(pixels_of(clear), want)
    want[0][2] = [9, 9, 9]
    np.testing.assert_array_equal(pixels_of(saved(tmp_path, palette, "q.png")), want)


@pytest.mark.parametrize(
    ("mode", "pixel", "want"),
    [
        ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
        ("RGBA", (10, 20, 30, 0), [255, 255, 255]),
        ("RGBA", (0, 100, 200, 51), [204, 224, 244]),
        ("LA", (0, 0), [255, 255, 255]),
        ("LA", (77, 255), [77, 77, 77]),
        ("L", 77, [77, 77, 77]),
        ("1", 1, [255, 255, 255]),
        ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
        ("CMYK", (0, 0, 0, 255), [0, 0, 0]),
    ],
)
def test_every_mode_becomes_rgb(mode, pixel, want, tmp_path):
    path = saved(tmp_path, Image.new(mode, (2, 2), pixel), "x.tif")
    np.testing.assert_array_equal(pixels_of(path), np.broadcast_to(want, (2, 2, 3)))


@pytest.mark.parametrize("name", ["wide.png", "wide.tif"])
def test_sixteen_bits_keep_their_whole_range(name, tmp_path):
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    path = saved(tmp_path, Image.fromarray(values), name)
    np.testing.assert_array_equal(pixels_of(path)[0, :, 0], [0, 1, 128, 255])


def test_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    path = saved(tmp_path, frames[0], "x.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(pixels_of(path)[0, 0], [255, 0, 0])


def test_grey_photograph_feeds_a_colour_model_and_back(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = saved(tmp_path, Image.fromarray(grey), "grey.png")
    np.testing.assert_array_equal(pixels_of(path), np.repeat(grey[..., None], 3, axis=2))
    into = model_input(1, 1, 16, 16)
    np.testing.assert_array_equal(prepare(path, described(into, "raw"), into).tensor[0, 0], grey)


def test_pillow_image_is_left_as_it_is():
    image = photo(5, 4)
    image.getexif()[0x0112] = 6
    before = image.tobytes()
    result = prepare(image, SPEC, INTO)
    assert (image.tobytes(), image.size, result.source) == (before, (5, 4), "array")
    np.testing.assert_array_equal(result.picture, np.rot90(np.array(image), -1))


def png_bytes():
    buffer = io.BytesIO()
    photo(30, 30).save(buffer, "PNG")
    return buffer.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n"
BAD_FILES = [
    ("empty.png", b"", "is empty (0 bytes)"),
    ("text.jpg", b"no picture at all", "is not a picture that Pillow can read"),
    ("cut.png", png_bytes()[:-900], "cannot be read: "),
    ("flip.png", png_bytes()[:60] + b"zzzz" + png_bytes()[64:], "cannot be read: "),
    ("draw.eps", EPS, "is EPS, which is drawn by a program"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES)
def test_bad_files_say_file_and_reason(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        prepare(path, SPEC, INTO)
    assert f"{path} {message}" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("tag", "value", "why"),  # width and length
    [
        (256, 4_000_000, r"4000000|cannot be read|truncated|cannot be decoded"),
        (257, 4_000_000, r"4000000|cannot be read|truncated|cannot be decoded"),
        (257, 40, "says 24 x 40 pixels and holds 480"),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_pixels_that_no_strip_holds_are_no_picture(mode, tag, value, why, tmp_path):
    path = saved(tmp_path, Image.new(mode, (24, 20)), "short.tiff")
    data = bytearray(path.read_bytes())
    (entries,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, entries)
    places = [entries + 2 + 12 * i for i in range(count)]
    place = next(at for at in places if struct.unpack_from("<H", data, at)[0] == tag)
    struct.pack_into("<HHII", data, place, tag, 4, 1, value)
    path.write_bytes(data)
    with pytest.raises(InputError, match=why):
        prepare(path, SPEC, INTO)


@pytest.mark.parametrize(
    "layout",
    [
        {"tile": (16, 16)},
        {"rowsperstrip": 3},
        {"planarconfig": "separate", "rowsperstrip": 7},
        {"planarconfig": "separate", "tile": (16, 32)},
        {"compression": "deflate", "tile": (16, 16)},
    ],
)
def test_pictures_in_strips_and_tiles_are_whole(layout, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    image = np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3)
    given = image.transpose(2, 0, 1) if "planarconfig" in layout else image
    tifffile.imwrite(tmp_path / "parts.tif", given, photometric="rgb", **layout)
    np.testing.assert_array_equal(pixels_of(tmp_path / "parts.tif"), image)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(InputError, match=r"absent\.png does not exist"):
        prepare(str(tmp_path / "absent.png"), SPEC, INTO)
    with pytest.raises(InputError, match="is a directory"):
        prepare(tmp_path, SPEC, INTO)


def test_decompression_bomb_is_an_input_error(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.new("1", (300, 300)), "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"bomb\.png is too large: .*90000 pixels"):
        prepare(path, SPEC, INTO)


def test_strip_that_would_grow_without_bound_is_refused():
    into = model_input(1, 3, 224, 224)
    with pytest.raises(InputError, match="resized from 1 x 50000 to 256 x 12800000 pixels"):
        prepare(photo(1, 50000), described(into, "imagenet"), into)


def test_large_picture_that_is_not_resized_is_taken(monkeypatch):
    monkeypatch.setattr(tensor, "_MOST_PIXELS", 100)
    assert pixels_of(photo(30, 30)).shape == (30, 30, 3)
    with pytest.raises(InputError, match="resized from 30 x 30 to 11 x 10"):
        prepare(
            photo(30, 30), InputSpec(**{**SPEC.said(), "resize": "stretch", "size": (10, 11)}), INTO
        )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("F", (2, 2)), "holds fractions"),
        (Image.new("I", (2, 2), -1), "grey values from -1 to -1"),
        (Image.new("I", (2, 2), 70000), "grey values from 70000"),
        (Image.new("RGB", (0, 5)), "is 0 x 5 pixels"),
    ],
)
def test_pixels_without_a_known_range_are_refused(image, message):
    with pytest.raises(InputError, match=message):
        prepare(image, SPEC, INTO)


# --- Arrays that are pictures -----------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
def test_uint8_arrays_are_pictures(shape):
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    if shape[-1] == 4:
        array[..., 3] = 255
    want = array[..., :3] if array.ndim == 3 and shape[2] > 1 else array.reshape(4, 5, 1)
    np.testing.assert_array_equal(pixels_of(array), np.broadcast_to(want, (4, 5, 3)))
    np.testing.assert_array_equal(pixels_of(array[:, ::-1])[:, ::-1], pixels_of(array))


def test_description_without_pictures_refuses_them(tmp_path):
    path = saved(tmp_path, photo(4, 4), "x.png")
    ready = described(INTO, "none")
    for picture in (path, photo(4, 4)):
        with pytest.raises(UsageError, match="takes ready arrays only"):
            prepare(picture, ready, INTO)
    with pytest.raises(InputError, match=r"absent\.png does not exist"):
        prepare(tmp_path / "absent.png", ready, INTO)
    with pytest.raises(InputError, match="holds uint8"):
        prepare(np.array(photo(4, 4)), ready, INTO)


@pytest.mark.parametrize("x", [[[1.0]], 3, None])
def test_other_types_are_refused_by_name(x):
    with pytest.raises(UsageError, match=f"of type {type(x).__name__} "):
        prepare(x, SPEC, INTO)


def test_unresolved_description_is_refused():
    with pytest.raises(UsageError, match=re.escape("resolve()")):
        prepare(photo(4, 4), InputSpec(), INTO)


def test_bytes_are_what_a_file_holds():
    with pytest.raises(InputError, match="the bytes is not a picture"):
        prepare(b"x.png", SPEC, INTO)


def test_pixels_without_number_in_a_few_bytes_are_refused_unread(tmp_path):
    """Found by the fuzzer: 1,298 bytes of TIFF that say 143 million pixels took half a minute."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = struct.pack(">II", 15_000, 11_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "x.png").write_bytes(data)
    for read in (lambda: open_picture(tmp_path / "x.png"), lambda: picture_in(bytes(data), "x")):
        with pytest.raises(InputError, match="says 15000 x 11000 pixels in"):
            read()
