"""What keeps a version from being released."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from release import problems


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of a version that is ready."""
    (tmp_path / "onnxcam").mkdir()
    (tmp_path / "onnxcam" / "version.py").write_text('"""V."""\n\n__version__ = "0.1.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [0.1.0] - 2026-12-01\n")
    _git(tmp_path, "init", "-q")
    _committed(tmp_path)
    return tmp_path


def _git(root: Path, *words: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)


def _committed(root: Path) -> None:
    _git(root, "add", "-A")
    _git(root, "commit", "-qm", "x", "--allow-empty")


def test_a_version_that_is_ready_may_be_released(checkout: Path) -> None:
    assert list(problems("0.1.0", checkout)) == []
    assert list(problems("0.1.0", checkout, tagged=True)) == ["the tag v0.1.0 is not here"]
    _git(checkout, "tag", "v0.1.0")
    assert list(problems("0.1.0", checkout, tagged=True)) == []
    assert list(problems("0.1.0", checkout)) == ["the tag v0.1.0 is there already"]


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("onnxcam/version.py", '__version__ = "0.1.0.dev0"\n', "version.py says 0.1.0.dev0"),
        ("CHANGELOG.md", "## [Unreleased]\n", "no heading '## [0.1.0] - YYYY-MM-DD'"),
    ],
)
def test_what_is_not_ready_is_said(checkout: Path, file: str, text: str, says: str) -> None:
    (checkout / file).write_text(text)
    assert any("not committed" in each for each in problems("0.1.0", checkout))
    _committed(checkout)
    (found,) = problems("0.1.0", checkout)
    assert says in found


def test_only_a_release_has_a_version_of_one(checkout: Path) -> None:
    assert any("is no version of a release" in each for each in problems("0.1", checkout))
