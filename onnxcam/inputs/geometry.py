"""Where a picture's pixels go: torchvision's resizing and centre crop, in whole numbers."""

from __future__ import annotations

from onnxcam.inputs.spec import InputSpec

Box = tuple[float, float, float, float]


def resized(picture: tuple[int, int], spec: InputSpec) -> tuple[int, int]:
    """Return the size that a picture is brought to before the crop.

    Args:
        picture: Its width and height in pixels.
        spec: The description.

    Returns:
        Width and height in pixels. With "shortest" the longer side is `int(pixels * longer /
        shorter)`, as torchvision's Resize has it.
    """
    if spec.resize == "none":
        return picture
    pixels = spec.resize_size
    if spec.resize == "stretch":
        height, width = (pixels, pixels) if pixels else spec.size or picture[::-1]
        return width, height
    assert pixels is not None  # resolve() refuses "shortest" without it
    width, height = picture
    longer = int(pixels * max(picture) / min(picture))
    return (pixels, longer) if width <= height else (longer, pixels)


def crop(image: tuple[int, int], spec: InputSpec) -> tuple[int, int, int, int]:
    """Return the centre crop of the resized picture.

    Args:
        image: Width and height of the resized picture.
        spec: The description.

    Returns:
        Left, top, right, bottom in pixels of the resized picture; beyond its edges where it
        is smaller than the crop, which means black there, as torchvision's CenterCrop has it.
    """
    if spec.size is None:
        return 0, 0, *image
    height, width = spec.size
    left, top = _start(image[0], width), _start(image[1], height)
    return left, top, left + width, top + height


def covered(
    picture: tuple[int, int], image: tuple[int, int], crop_box: tuple[int, int, int, int]
) -> Box:
    """Return the part of a picture that a crop of the resized picture shows.

    Args:
        picture: Width and height of the picture.
        image: Width and height of the resized picture.
        crop_box: Left, top, right, bottom in pixels of the resized picture.

    Returns:
        Left, top, right, bottom in pixels of the picture.
    """
    x, y = picture[0] / image[0], picture[1] / image[1]
    left, top, right, bottom = crop_box
    return left * x, top * y, right * x, bottom * y


def _start(length: int, wanted: int) -> int:
    """Return where a centred stretch begins; negative where it is longer than the whole."""
    if wanted > length:
        return -((wanted - length) // 2)
    return round((length - wanted) / 2)
