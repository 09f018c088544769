"""What docs/detection.md says of boxes: every way is measured, and the default holds its lines."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from onnxcam import Explainer
from onnxcam.targets import Detections

ROOT = Path(__file__).resolve().parents[2]
ULTRAFACE = ROOT.parent / "shared" / "models" / "ultraface_RFB320.onnx"


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("detection", ROOT / "tools" / "detection.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["detection"] = module
    spec.loader.exec_module(module)
    return module


def test_every_way_is_measured_and_the_default_holds_its_lines(tool: Any) -> None:
    text = (ROOT / "docs" / "detection.md").read_text()
    table = text.partition(tool.MARKS[0])[2].partition(tool.MARKS[1])[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.strip().splitlines()]
    found = {(row[0], row[1]): row[2:] for row in rows[2:]}
    assert {way for name, way in found if name == "UltraFace"} == set(tool.WAYS)
    face, middle = found["UltraFace", next(iter(tool.WAYS))][:2]
    assert int(face.split()[0]) >= 70 and int(middle.split()[0]) >= 50


@pytest.mark.skipif(not ULTRAFACE.is_file(), reason="the shared models are not at hand")
def test_the_map_of_a_face_lies_in_it(tool: Any) -> None:
    from skimage.data import astronaut

    explain = Explainer(ULTRAFACE, preprocess=tool.FACE, device="cpu", threads=1, cache=False)
    picture = astronaut()
    (one,) = explain(picture, Detections())
    assert one.label == "face" and one.method == "hirescam"
    assert tool.share(one.map, one.detection.box, picture.shape[:2]) >= 0.7
