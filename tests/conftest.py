"""Shared set-up: ``tests/`` is importable, one test uses one thread, real files where they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

os.environ["ONNXCAM_CACHE"] = "off"  # what a test sees is written by the code of now
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def zoo() -> Path:
    """The project's own models."""
    return ROOT / "models"


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Real models of many exporters, where they are at hand."""
    folder = SHARED / "models"
    if not folder.is_dir():
        pytest.skip("../shared/models is not there")
    return folder


@pytest.fixture(scope="session")
def shared_images() -> Path:
    """Photographs with boxes, where they are at hand."""
    folder = SHARED / "images"
    if not folder.is_dir():
        pytest.skip("../shared/images is not there")
    return folder


@pytest.fixture(scope="session")
def boxes(shared_images: Path) -> list[dict[str, Any]]:
    """What is in the photographs."""
    return json.loads((shared_images / "boxes.json").read_text())
