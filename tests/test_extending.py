"""docs/extending.md: the Python of each section is a program that runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))


def _program(section: str) -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE))


def test_there_is_a_section_for_everything_that_is_entered() -> None:
    for words in ("operator", "trait", "method", "target", "backward", "metric", "command"):
        assert any(words in heading for heading in SECTIONS), words
    assert PAGE.count("```python") == sum(s.count("```python") for s in SECTIONS.values())


def test_the_groups_of_entry_points_are_those_of_the_registries() -> None:
    code = "\n".join(p.read_text() for p in (ROOT / "onnxcam").rglob("*.py"))
    groups = set(re.findall(r'Source\([^)]*"(onnxcam\.\w+)"\)', code))
    said = set(re.findall(r"ntry points?:? `(onnxcam\.\w+)`", PAGE))
    assert groups - {"onnxcam.definitions"} <= said, "each but that of onnxcam's own definitions"
    assert said <= groups


@pytest.mark.parametrize("heading", [h for h, text in SECTIONS.items() if "```python" in text])
def test_the_python_of_a_section_runs(heading: str, tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "program.py").write_text(_program(SECTIONS[heading]))
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "assert" in _program(SECTIONS[heading]), "the program proves nothing"


def test_commands_of_the_issue_templates_exist() -> None:
    from onnxcam.cli import main

    for path in [*(ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"), ROOT / "CONTRIBUTING.md"]:
        for command in re.findall(r"`onnxcam ([a-z]+) ", path.read_text()):
            assert command in main.commands, f"{path.name}: {command}"
