"""What the documents say is what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support import nets

import onnxcam
from onnxcam import methods
from onnxcam.cli import main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_the_readme_leads_to_every_page() -> None:
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"\]\(([^)]+)\)", README))


def test_what_is_generated_is_up_to_date() -> None:
    found = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_docs.py", "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


def test_the_readme_names_every_method_and_command() -> None:
    for name in methods.names():
        assert f"| `{name}` |" in README
    for command in main.commands:
        assert f"onnxcam {command}" in README


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


@pytest.mark.parametrize("marker", ["explain-command", "test-command"])
def test_the_readme_has_one_line_to_paste(marker: str) -> None:
    found = re.search(rf"<!-- {marker} -->\n```sh\n(.*?)\n```", README, re.DOTALL)
    assert found and "\n" not in found[1]
    assert found[1].startswith("python3 -m venv .venv && ")


def test_the_python_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(ROOT / "models")
    (code, *_) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    explanation = names["explanation"]
    assert explanation.label == "Egyptian cat"  # type: ignore[attr-defined]
    assert (tmp_path / "chelsea.png").is_file()


def test_the_first_command_of_the_readme_explains(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    found = re.search(r"<!-- explain-command -->\n```sh\n(.*?)\n```", README, re.DOTALL)
    assert found
    words = found[1].split("onnxcam explain ")[1].split()
    words[words.index("-o") + 1] = str(tmp_path / "made.png")
    result = CliRunner().invoke(main, ["explain", *words])
    assert result.exit_code == 0, result.output
    assert "espresso" in result.output and (tmp_path / "made.png").is_file()


@pytest.mark.parametrize(
    "options", [{"overlay": True}, {"method": "gradient", "wrt": ["x"]}], ids=["map", "gradient"]
)
def test_the_page_on_the_explained_model_is_complete(options: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "explained-model.md").read_text()
    made = onnxcam.convert(nets.cnn(channels=3), preprocess="unit", **options).explained.model
    for key in made.metadata:
        name = "onnxcam.input.*" if key.startswith("onnxcam.input.") else key
        assert f"| `{name}` |" in page, key
    for port in made.outputs:
        if port.name != "logits":
            assert f"| `{port.name.replace('::x', '::T')}` |" in page, port.name
