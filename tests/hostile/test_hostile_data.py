"""Data sets that anybody wrote: listed, or refused in a line; only their own files are read."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz.apart import apart
from fuzz.mutate import of_bytes
from PIL import Image

from onnxcam.audit.data import load_sample, open_data
from onnxcam.audit.data.sound import held
from onnxcam.errors import InputError, InternalError, OnnxcamError, bounded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it works in copies of a process")
RED = [{"id": 1, "name": "red"}]
BOXED = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}]
IMAGES = [{"id": 1, "file_name": "a.png"}]


def picture(place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (200, 0, 0)).save(place)
    return place


def listed(place: Path, **options: Any) -> list[Any]:
    """Open a data set and load its samples, as an audit does."""
    with bounded("the audit fails"):
        found = open_data(place, **options)
        return [load_sample(sample) for sample in found.samples]


def refused(place: Path, words: str, **options: Any) -> None:
    with pytest.raises(OnnxcamError, match=words) as told:
        listed(place, **options)
    assert not isinstance(told.value, InternalError) and len(str(told.value)) < 1000


COCO: list[tuple[str, dict[str, Any], str]] = [
    ("absolute", {"images": [{"id": 1, "file_name": "/etc/hostname.png"}]}, "no file in"),
    ("upwards", {"images": [{"id": 1, "file_name": "x/../../../p.png"}]}, "no file in"),
    ("a zero byte", {"images": [{"id": 1, "file_name": "a\0.png"}]}, "no file in"),
    ("no name", {"images": [{"id": 1}]}, "has no id and file_name"),
    ("no number", {"images": [{"file_name": "a.png"}]}, "has no id and file_name"),
    ("a list as number", {"images": [{"id": [1], "file_name": "a.png"}]}, "has no id"),
    ("images of another form", {"images": [[1]]}, "has no id"),
    ("no list of images", {"images": {"a": 1}}, "no list"),
    ("an annotation that is text", {"annotations": ["x"]}, "has no image_id"),
    ("a category without a name", {"categories": [{"id": 1}]}, "has no id and name"),
    ("a category as list", {"annotations": [{**BOXED[0], "category_id": [1]}]}, "has no image_id"),
    ("no box", {"annotations": [{**BOXED[0], "bbox": 7}]}, "has no box"),
    ("an endless box", {"annotations": [{**BOXED[0], "bbox": [0, 1e308, 1, 1e308]}]}, "no numbers"),
    ("a box of NaN", {"annotations": [{**BOXED[0], "bbox": [float("nan"), 0, 1, 1]}]}, "no numb"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "words"), [c[1:] for c in COCO], ids=[c[0] for c in COCO])
def test_coco_is_held_against_its_form(said: dict[str, Any], words: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    whole = {"images": IMAGES, "annotations": BOXED, "categories": RED}
    (tmp_path / "instances.json").write_text(json.dumps(whole))
    assert len(listed(tmp_path)) == 1
    (tmp_path / "instances.json").write_text(json.dumps({**whole, **said}))
    refused(tmp_path, words)


def _xml(text: str, encoding: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        picture(folder / "JPEGImages" / "a.jpg")
        (folder / "Annotations").mkdir()
        (folder / "Annotations" / "a.xml").write_bytes(text.encode(encoding))
        return folder

    return made


def _npz(**arrays: Any) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        np.savez(folder / "x.npz", **arrays)
        return folder / "x.npz"

    return made


def _headers(**shapes: tuple[int, ...]) -> Callable[[Path], Path]:
    """Return what writes arrays of which there is nothing but the header."""

    def made(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "x.npz", "w") as archive:
            for name, shape in shapes.items():
                file = io.BytesIO()
                said = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, said)
                archive.writestr(f"{name}.npy", file.getvalue())
        return folder / "x.npz"

    return made


def _csv(text: bytes) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        picture(folder / "a.png")
        (folder / "labels.csv").write_bytes(text)
        return folder

    return made


def _pipe(*parts: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        picture(folder / "JPEGImages" / "a.jpg")
        place = folder.joinpath(*parts)
        place.parent.mkdir(exist_ok=True)
        os.mkfifo(place)
        return folder

    return made


X = np.zeros((2, 3, 4, 4), np.float32)
_DTD = (
    '<?xml version="1.0" encoding="{}"?><!DOCTYPE a [<!ENTITY b "cc">]>'
    "<a><filename>&b;</filename></a>"
)
SETS: list[tuple[str, Callable[[Path], Path], str]] = [
    ("entities", _xml(_DTD.format("utf-8"), "utf-8"), "document type"),
    ("entities in another encoding", _xml(_DTD.format("utf-16"), "utf-16"), "document type"),
    ("a pipe as XML", _pipe("Annotations", "a.xml"), "is a pipe"),
    ("more inputs than there can be", _headers(x=(2**40, 3, 4, 4)), "inputs"),
    ("labels for more", _headers(x=(4, 3), y=(2**40,)), "another number"),
    ("a single label", _npz(x=X, y=np.int64(3)), "single number"),
    ("boxes of words", _npz(x=X, boxes=np.array([["a"], ["b"]])), "form npz"),
    ("boxes of three", _npz(x=X, boxes=np.zeros((2, 3))), "form npz"),
    ("a zero byte in a list", _csv(b"file,label\na\0.png,red\n"), "names no file|NUL"),
    ("a field of a book", _csv(b"file,label\na.png," + b"r" * 200_000), "field larger"),
    ("boxes without end", _csv(b"file,x0,y0,x1,y1\na.png,0,0,inf,1\n"), "no numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "words"), [c[1:] for c in SETS], ids=[c[0] for c in SETS])
def test_other_forms_are_too(made: Callable[[Path], Path], words: str, tmp_path: Path) -> None:
    refused(made(tmp_path), words)


@pytest.mark.parametrize("boxes", ["pipe", "/dev/zero"])
def test_boxes_beside_the_data_are_regular_files(boxes: str, tmp_path: Path) -> None:
    picture(tmp_path / "data" / "a.png")
    if boxes == "pipe":
        os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "data", "pipe|device", boxes=tmp_path / boxes)


def test_rows_of_a_table_name_no_file_elsewhere(tmp_path: Path) -> None:
    """A picture of the user's own would be shown in the report."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    private = picture(tmp_path / "private.png")
    folder = tmp_path / "data"
    picture(folder / "own.png")
    (folder / "link.png").symlink_to(private)
    os.mkfifo(folder / "pipe")
    names = [str(private), "../private.png", "link.png", "/dev/zero", "pipe", "own.png"]
    rows = [{"bytes": None, "path": name} for name in names]
    parquet.write_table(pa.table({"image": rows}), folder / "x.parquet")
    samples = open_data(folder / "x.parquet").samples
    for sample in samples[:-1]:
        with pytest.raises(InputError, match="no file in|leads out|pipe"):
            load_sample(sample)
    assert load_sample(samples[-1]).content.size == (16, 16)
    with pytest.raises(InputError, match="more than"):
        held(folder, "own.png", 10)


def test_more_samples_than_memory_holds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxcam.audit.data import opening

    monkeypatch.setattr(opening, "MOST", 3)
    for k in range(4):
        picture(tmp_path / "k" / f"{k}.png")
    refused(tmp_path, "more than 3 samples")


def test_endless_labels_are_cut(tmp_path: Path) -> None:
    y = np.zeros((2, 40, 40))
    np.savez(tmp_path / "x.npz", x=X, y=np.stack([np.full(5000, "r")] * 2), z=y)
    (sample, _) = open_data(tmp_path / "x.npz", slices=["z"]).samples
    assert sample.label is not None and len(sample.label) <= 1000
    assert len(sample.slices["z"]) <= 1000


def _tables(folder: Path, cells: Any, **columns: Any) -> list[Path]:
    """Write a table as Parquet and as Arrow's stream."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"image": cells, **columns})
    parquet.write_table(table, folder / "x.parquet")
    with pa.OSFile(str(folder / "x.arrow"), "wb") as f, pa.ipc.new_stream(f, table.schema) as to:
        to.write_table(table)
    return [folder / "x.parquet", folder / "x.arrow"]


@pytest.mark.parametrize("seed", range(4))
def test_damaged_tables_are_read_or_refused(seed: int, tmp_path: Path) -> None:
    import random

    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG")
    rng = random.Random(seed)
    for place in _tables(tmp_path, [file.getvalue()] * 5, label=["red"] * 5):
        data = place.read_bytes()
        form = "parquet" if place.suffix == ".parquet" else "huggingface"
        for k in range(12):
            folder = tmp_path / f"{place.suffix}{k}"
            folder.mkdir()
            made = folder / place.name
            cut = data[: len(data) // 2] if k == 0 else of_bytes(data, rng)
            made.write_bytes(cut)
            said = apart(lambda p=made if form == "parquet" else folder, f=form: _said(p, f))
            assert said in ("right", "refused", "crash SIGSEGV"[: 13 * (form == "parquet")]), said


def _said(place: Path, form: str) -> str:
    try:
        listed(place, form=form)
    except InternalError as error:
        return f"fault: {error}"
    except (OnnxcamError, MemoryError):
        return "refused"
    return "right"


def test_labels_of_a_table_are_cut_as_they_are_read(tmp_path: Path) -> None:
    place, _ = _tables(tmp_path, [[1.0, 2.0]] * 3, label=["x" * 10_000] * 3)
    assert all(len(s.label or "") <= 1000 for s in open_data(place).samples)
