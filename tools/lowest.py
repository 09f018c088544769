"""Print the lowest versions that pyproject.toml allows, as constraints for pip.

    python tools/lowest.py > lowest.txt
    pip install -c lowest.txt -e '.[cpu,test]'

Run the tests there now and then: a bound that does not work is found by that alone.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
_BOUND = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:>=|==)\s*([0-9][0-9a-z.]*)")


def lowest(project: Mapping[str, Any]) -> dict[str, str]:
    """Return the lowest version of each package that a project names, by its name.

    Args:
        project: The table `project` of a pyproject.toml.

    Raises:
        ValueError: A package has no lower bound.
    """
    found = {}
    for said in _requirements(project):
        match = _BOUND.match(said)
        if match is None:
            raise ValueError(f"{said!r} has no lower bound: write one, and test it")
        found[match[1]] = match[2]
    return found


def _requirements(project: Mapping[str, Any]) -> Iterator[str]:
    extras = project.get("optional-dependencies", {})
    for said in [
        *project.get("dependencies", []),
        *(r for group in extras.values() for r in group),
    ]:
        if not said.startswith(project["name"]):  # an extra that takes another one in
            yield said


def main() -> None:
    """Print them."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    for name, version in sorted(lowest(project).items()):
        sys.stdout.write(f"{name}=={version}\n")


if __name__ == "__main__":
    main()
