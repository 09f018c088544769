"""Data sets of every form: the same samples, labels, boxes and slices come out."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnxcam.audit.data import Sample, Selection, load_sample, open_data
from onnxcam.audit.data.registry import names
from onnxcam.errors import InputError, OnnxcamError, UsageError

COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255)}


def picture(path: Path, colour: tuple[int, int, int] = (255, 0, 0)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), colour).save(path)
    return path


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for name, colour in COLOURS.items():
        for k in range(2):
            picture(tmp_path / name / f"{k}.png", colour)
    found = open_data(tmp_path)
    assert found.form == "classes"
    assert [(s.id, s.label) for s in found.samples] == [
        ("blue/0.png", "blue"),
        ("blue/1.png", "blue"),
        ("red/0.png", "red"),
        ("red/1.png", "red"),
    ]
    loaded = load_sample(found.samples[0])
    assert loaded.sha256 == hashlib.sha256((tmp_path / "blue/0.png").read_bytes()).hexdigest()


def test_a_list_with_classes_behind_tabs(tmp_path: Path) -> None:
    picture(tmp_path / "a b.png")
    (tmp_path / "list.txt").write_text("a b.png\t3\n\nmissing.png\n")
    found = open_data(tmp_path / "list.txt").samples
    assert [(s.id, s.label) for s in found] == [("a b.png", "3"), ("missing.png", None)]
    with pytest.raises(InputError, match=r"missing\.png"):
        load_sample(found[1])


def test_a_csv_with_slices_and_a_box_a_line(tmp_path: Path) -> None:
    picture(tmp_path / "p.png")
    lines = ["file,class,site,x0,y0,x1,y1", "p.png,7,north,0,0,4,3", "p.png,7,north,4,3,8,6"]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    (sample,) = open_data(tmp_path / "data.csv", slices=["site"]).samples
    assert (sample.label, sample.slices) == ("7", {"site": "north"})
    mask = load_sample(sample).mask
    assert mask is not None
    assert mask[:3, :4].all() and mask[3:, 4:].all() and mask.sum() == 24
    with pytest.raises(UsageError, match="no column 'country'"):
        open_data(tmp_path / "data.csv", slices=["country"])
    (tmp_path / "data.csv").write_text("file,class\np.png,1\np.png,2\n")
    with pytest.raises(InputError, match="twice"):
        open_data(tmp_path / "data.csv")


def test_coco(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "1.png")
    said = {
        "images": [{"id": 5, "file_name": "1.png"}],
        "categories": [{"id": 2, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 2, "bbox": [1, 2, 3, 4]}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(said))
    (sample,) = open_data(tmp_path).samples
    assert (sample.label, sample.boxes) == ("cat", ((1, 2, 4, 6),))
    mask = load_sample(sample).mask
    assert mask is not None and mask.sum() == 12
    del said["annotations"][0]["bbox"]  # type: ignore[index]
    (tmp_path / "instances.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="annotation 1"):
        open_data(tmp_path)


def test_voc_counts_from_one(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages" / "1.png")
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>3</ymax></bndbox>"
    xml = f"<annotation><filename>1.png</filename><object><name>dog</name>{box}</object>"
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "1.xml").write_text(f"{xml}</annotation>")
    (sample,) = open_data(tmp_path).samples
    assert (sample.label, sample.boxes) == ("dog", ((0, 0, 2, 3),))
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]><annotation/>'
    (tmp_path / "Annotations" / "1.xml").write_text(bomb)
    with pytest.raises(InputError, match="no VOC"):
        open_data(tmp_path)


def test_masks_beside_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "1.jpg")
    drawn = np.zeros((6, 8), np.uint8)
    drawn[2:4, 3:5] = 1
    (tmp_path / "masks").mkdir()
    Image.fromarray(drawn).save(tmp_path / "masks" / "1_mask.png")
    (sample,) = open_data(tmp_path).samples
    mask = load_sample(sample).mask
    assert mask is not None
    np.testing.assert_array_equal(mask, drawn > 0)
    Image.fromarray(drawn[:3]).save(tmp_path / "masks" / "1_mask.png")
    with pytest.raises(InputError, match="8 x 3"):
        load_sample(sample)


def test_arrays_with_classes_and_slices(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1, 1], part=["a", "b", "b"])
    found = open_data(tmp_path / "d.npz", slices=["part"]).samples
    assert [(s.label, s.slices["part"]) for s in found] == [("0", "a"), ("1", "b"), ("1", "b")]
    loaded = load_sample(found[2])
    np.testing.assert_array_equal(loaded.content, x[2])
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1])
    with pytest.raises(InputError, match="3 rows"):
        open_data(tmp_path / "d.npz")


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_tables_of_hugging_face(tmp_path: Path, form: str) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import ipc, parquet

    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (0, 0, 255)).save(buffer, "PNG")
    data = buffer.getvalue()
    table = pa.table({"image": [{"bytes": data, "path": None}] * 5, "label": [0, 1, 1, 0, 1]})
    features = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    if form == "parquet":
        parquet.write_table(table, tmp_path / "data-0.parquet", row_group_size=2)
    else:
        with ipc.new_stream(tmp_path / "data-0.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    found = open_data(tmp_path)
    assert found.form == "huggingface"
    assert [s.label for s in found.samples] == ["cat", "dog", "dog", "cat", "dog"]
    loaded = load_sample(found.samples[3])
    assert loaded.sha256 == hashlib.sha256(data).hexdigest()
    assert np.asarray(loaded.content)[0, 0].tolist() == [0, 0, 255]


def test_boxes_and_masks_from_elsewhere(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "1.png")
    said = {
        "images": [{"id": 1, "file_name": "1.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 2, "bbox": [0, 0, 2, 2]}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(said))
    (sample,) = open_data(tmp_path / "data", boxes=tmp_path / "boxes.json").samples
    assert sample.boxes == ((0, 0, 2, 2),)


def test_a_selection_repeats_and_says_its_rule(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((50, 2)))
    first, again, other = (
        open_data(tmp_path / "d.npz", selection=Selection(10, seed)) for seed in (1, 1, 2)
    )
    assert first.digest == again.digest != other.digest
    assert len(first.samples) == 10 and "seed 1" in first.as_dict()["selection"]


def test_samples_survive_json(tmp_path: Path) -> None:
    sample = Sample(
        "a", tmp_path, "npz", 3, "x", "1", {"a": "b"}, ((0.0, 1.0, 2.0, 3.0),), tmp_path
    )
    assert Sample.of(json.loads(json.dumps(sample.as_dict()))) == sample


@pytest.mark.parametrize("place", ["missing", "empty", "text.md"])
def test_what_is_no_data_set_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.md").write_text("hello")
    with pytest.raises(OnnxcamError):
        open_data(tmp_path / place)
    with pytest.raises(UsageError, match=", ".join(names())):
        open_data(tmp_path, form="floppy")
