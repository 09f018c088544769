"""Damage pictures, arrays, descriptions and labels: a right reading, or one clear line.

    python -m fuzz.files --count 1000 --seed 0          (in tools/)

As `fuzz.run` does it with models. Seeds are made here: a small picture in every format that Pillow
writes, arrays, descriptions in TOML and JSON, labels.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fuzz.apart import apart
from fuzz.mutate import of_bytes

FINE = ("right", "refused")
_SIZE = 24  # pixels of a seed's side
_MODES = {
    "PNG": ("RGB", "L", "P", "LA", "RGBA", "I;16", "1"),
    "JPEG": ("RGB", "L", "CMYK"),
    "BMP": ("RGB", "L", "1", "P"),
    "GIF": ("P", "L"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("RGB", "L", "CMYK", "F", "I;16", "LAB", "1"),
    "PPM": ("RGB", "L", "1"),
    "TGA": ("RGB", "RGBA", "L"),
    "PCX": ("RGB", "L"),
    "SGI": ("RGB", "L"),
    "ICO": ("RGBA",),
    "DDS": ("RGB", "RGBA"),
    "JPEG2000": ("RGB", "L"),
}
_TOML = """layout = "NCHW"
size = [224, 224]
resize = "shortest"
resize_size = 256
interpolation = "bilinear"
channels = "RGB"
scale = 0.00392
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
labels = ["cat", "dog", "\\u00e9"]
"""
_PROCESSOR = {
    "image_processor_type": "ViTImageProcessor", "do_resize": True, "do_normalize": True,
    "do_rescale": True, "rescale_factor": 0.00392156862745098, "resample": 2,
    "size": {"height": 224, "width": 224}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
}  # fmt: skip


def seeds() -> list[tuple[str, bytes]]:
    """Return files that are damaged: an ending and the bytes."""
    found = list(_pictures())
    array = np.arange(3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)
    for ending, save in ((".npy", np.save), (".npz", np.savez), (".npz", np.savez_compressed)):
        file = io.BytesIO()
        save(file, array)  # type: ignore[operator]
        found += [(ending, file.getvalue())] * 3
    names = {str(i): f"class {i}" for i in range(4)}
    texts = (("model.toml", _TOML), ("preprocessor.json", json.dumps(_PROCESSOR)))
    found += [(ending, text.encode()) for ending, text in texts] * 3
    found += [("labels.json", json.dumps(names).encode()), ("labels.txt", b"cat\ndog\n")]
    return found


def _pictures() -> list[tuple[str, bytes]]:
    Image.init()
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 255, (_SIZE, _SIZE), np.uint8)
    colour = Image.fromarray(rng.integers(0, 255, (_SIZE, _SIZE, 3), np.uint8))
    found = []
    for kind, modes in _MODES.items():
        for mode in modes:
            wide = Image.fromarray(grey.astype(np.uint16) * 256)
            picture = wide if mode == "I;16" else colour.convert(mode)
            file = io.BytesIO()
            exif = Image.Exif()
            exif[0x0112] = 6  # the camera was turned
            try:
                extra = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
                picture.save(file, kind, **extra)
            except (OSError, ValueError, KeyError, TypeError):  # this build does not write it
                continue
            found.append((f".{kind.lower()}", file.getvalue()))
    return found


def worked(path: Path) -> str:
    """Read a file as what its name says, in this process."""
    from onnxcam.errors import OnnxcamError, bounded

    try:
        with bounded("the file cannot be read"):
            _read(path)
    except OnnxcamError as error:
        text = str(error)
        if "report it" in text:
            return f"fault: {text}"
        return "refused" if "\n" not in text and len(text) < 1000 else "a long line"
    except BaseException as error:  # noqa: BLE001 - this is what is looked for
        return f"raises {type(error).__name__}: {error}"
    return "right"


def _read(path: Path) -> None:
    from onnxcam.inputs import PRESETS, InputSpec, ModelInput, load_labels, prepare, read_toml
    from onnxcam.inputs.huggingface import read_id2label, read_preprocessor

    if path.name.startswith("labels"):
        load_labels(path)
    elif path.name.endswith(".json"):
        read_id2label(path)
        read_preprocessor(path)
    elif path.name.endswith(".toml"):
        InputSpec(**read_toml(path))
    else:
        spec = PRESETS["imagenet"]
        declared = ModelInput("x", ("N", 3, 8, 8), np.dtype(np.float32), "NCHW")
        spec = InputSpec(**{**spec.said(), "layout": "NCHW", "size": (8, 8), "resize_size": 9})
        found = prepare(path, spec, declared)
        assert found.tensor.shape[1:] == (3, 8, 8), found.tensor.shape
        assert np.isfinite(found.tensor).all(), "not finite"


def fuzz(count: int, seed: int, seconds: float, findings: Path | None) -> Counter[str]:
    """Damage so many files; return how often what came of them."""
    rng, given = random.Random(seed), seeds()
    from onnxcam.inputs import huggingface, picture  # noqa: F401 - imported once, not in each copy

    found: Counter[str] = Counter()
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        while sum(found.values()) < count and time.monotonic() < end:
            ending, data = rng.choice(given)
            path = Path(folder, ending if ending[0] != "." else f"x{ending}")
            path.write_bytes(of_bytes(data, rng))
            work: Callable[[], str] = lambda p=path: worked(p)  # noqa: E731
            said = apart(work)
            kind = said.split(":")[0]
            if kind not in FINE and not found[kind] and findings is not None:
                findings.mkdir(parents=True, exist_ok=True)
                (findings / f"{len(list(findings.iterdir()))}{path.name}").write_bytes(
                    path.read_bytes()
                )
                (findings / "said.txt").open("a", encoding="utf-8").write(f"{said}\n")
            found[kind] += 1
            path.unlink()
    return found


def main() -> None:
    """Run it from the shell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=36000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, default=None)
    args = parser.parse_args()
    found = fuzz(args.count, args.seed, args.seconds, args.findings)
    for kind, number in found.most_common():
        sys.stdout.write(f"{number:7d}  {kind}\n")
    sys.exit(1 if any(k not in FINE for k in found) else 0)


if __name__ == "__main__":
    main()
