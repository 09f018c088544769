"""What is written is what docs/results.md and its schema say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support import nets

import onnxcam
from onnxcam.cli import main
from onnxcam.output.records import ARRAYS, FORMAT, MORE_ARRAYS

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMA = json.loads((DOCS / "explanation.schema.json").read_text())
PICTURE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def _check(record: object) -> None:
    jsonschema.validate(record, SCHEMA, jsonschema.Draft202012Validator)


@pytest.mark.parametrize("name", ["gradcam", "saliency", "smoothgrad", "rise", "cam"])
def test_every_record_fits_the_schema(tmp_path: Path, name: str) -> None:
    e = onnxcam.Explainer(nets.cnn(channels=3), name, preprocess="unit")(PICTURE)
    e.save(tmp_path / "e.json")
    record = json.loads((tmp_path / "e.json").read_text())
    _check(record)
    assert record["format"] == FORMAT == SCHEMA["properties"]["format"]["const"]
    assert record.keys() <= SCHEMA["properties"].keys()  # what comes is documented
    e.save(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as saved:
        _check(json.loads(str(saved["info"])))
        assert {*ARRAYS, "info"} <= set(saved.files) <= {*ARRAYS, *MORE_ARRAYS, "info"}
        np.testing.assert_array_equal(saved["map"], e.map)


def test_the_page_names_every_array() -> None:
    page = (DOCS / "results.md").read_text()
    assert {*ARRAYS, *MORE_ARRAYS, "info"} <= set(re.findall(r"^\| `(\w+)` \|", page, re.M))


def test_what_the_shell_prints_fits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").write_bytes(nets.cnn(channels=3).SerializeToString())
    Image.fromarray(PICTURE).save("a.png")
    words = ["explain", "m.onnx", "a.png", "none.png", "--preprocess", "unit", "--json", "-o", "o"]
    said = json.loads(CliRunner().invoke(main, words).stdout)
    assert len(said["explanations"]) == len(said["errors"]) == 1
    for record in said["explanations"]:
        _check(record)
        assert record["files"]


def test_a_wrong_record_is_seen() -> None:
    record = onnxcam.Explainer(nets.cnn(channels=3), preprocess="unit")(PICTURE).as_dict()
    for wrong in ({"format": 99}, {"target": "cat"}, {"diagnosis": None}):
        with pytest.raises(jsonschema.ValidationError):
            _check({**record, **wrong})
