"""What a wheel may hold; the whole check is `tools/package.py`, which `.ci/run` runs."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path

import pytest
from package import MOST, problems

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _wheel(folder: Path, *names: str) -> Path:
    path = folder / "onnxcam-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (
            "onnxcam/__init__.py",
            "onnxcam/py.typed",
            "onnxcam-1.dist-info/METADATA",
            *names,
        ):
            archive.writestr(name, "")
    return path


def test_a_plain_wheel_is_fine(tmp_path: Path) -> None:
    assert problems(_wheel(tmp_path, "onnxcam/demo/squeezenet1.1.onnx")) == []


@pytest.mark.parametrize(
    "name", ["tests/test_a.py", "onnxcam/node_modules/a.js", "onnxcam/a.so", "web/index.html"]
)
def test_what_does_not_belong_there_is_seen(tmp_path: Path, name: str) -> None:
    assert len(problems(_wheel(tmp_path, name))) == 1


def test_what_the_wheel_takes_in_is_there_and_small() -> None:
    build = SETTINGS["tool"]["hatch"]["build"]["targets"]
    taken = [ROOT / name for name in build["wheel"]["force-include"]]
    assert all(path.is_file() for path in taken)
    assert sum(path.stat().st_size for path in taken) < MOST
    assert all((ROOT / name).exists() for name in build["sdist"]["only-include"])


def test_pictures_and_links_of_the_readme_are_whole_on_pypi() -> None:
    text = (ROOT / "README.md").read_text()
    for each in SETTINGS["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"][
        "substitutions"
    ]:
        text = re.sub(each["pattern"], each["replacement"], text)
    assert re.findall(r"\]\((?!https?:|#)[^)]*\)", text) == []
    assert "https://raw.githubusercontent.com/onnxcam/onnxcam/main/docs/espresso.png" in text


def test_the_versions_of_python_are_those_that_are_allowed() -> None:
    project = SETTINGS["project"]
    named = {c.rsplit(" ", 1)[1] for c in project["classifiers"] if "Python :: 3." in c}
    assert project["requires-python"] == f">={min(named, key=lambda v: int(v.split('.')[1]))}"
    assert "Typing :: Typed" in project["classifiers"]
