"""What the project says of its dependencies: lowest versions, bill of materials."""

from __future__ import annotations

import json
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
lowest = import_module("lowest")


def test_every_package_has_a_lowest_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = lowest.lowest(project)
    assert {"onnx", "numpy", "onnxruntime", "pillow", "click"} <= set(found)
    assert all(v[0].isdigit() for v in found.values())


@pytest.mark.parametrize("said", ["numpy", "numpy<2", "numpy!=1.0"])
def test_a_package_without_one_is_named(said: str) -> None:
    with pytest.raises(ValueError, match="no lower bound"):
        lowest.lowest({"name": "onnxcam", "dependencies": [said]})


def test_the_bill_of_materials_names_what_is_installed() -> None:
    pytest.importorskip("cyclonedx", reason="it comes with the extra of the audit")
    bill = import_module("sbom")
    said = json.loads(bill.text(["cpu"]))
    assert said["bomFormat"] == "CycloneDX"
    assert said["metadata"]["component"]["name"] == "onnxcam"
    parts = {c["name"].lower(): c for c in said["components"]}
    assert {"onnx", "numpy", "click", "pillow"} <= set(parts)
    assert "torch" not in parts
    own = next(d for d in said["dependencies"] if d["ref"].startswith("onnxcam@"))
    assert any(ref.startswith("numpy@") for ref in own["dependsOn"])


def test_the_bill_is_valid() -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    pytest.importorskip("jsonschema", reason="the schema is checked with it")
    from cyclonedx.schema import SchemaVersion

    text = import_module("sbom").text(["cpu"])
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
