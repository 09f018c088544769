"""Write the software bill of materials of an installed onnxcam: what it is made of, as CycloneDX.

    python tools/sbom.py > sbom.json

Listed is what this Python has installed of onnxcam's dependencies and of theirs, with versions,
licences and who needs whom; of the extras that are named (default: cpu).
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement

from onnxcam.version import __version__


def installed(extras: list[str]) -> dict[str, tuple[Distribution, set[str]]]:
    """Return the distributions that onnxcam needs here, with the names of what each needs.

    Args:
        extras: Extras of onnxcam to count.
    """
    found: dict[str, tuple[Distribution, set[str]]] = {}
    waiting: list[tuple[str, list[str]]] = [("onnxcam", extras)]
    while waiting:
        name, wanted = waiting.pop()
        try:
            said = distribution(name)
        except PackageNotFoundError:  # for another platform, or not installed
            continue
        needs = set()
        for line in said.requires or []:
            need = Requirement(line)
            environments: list[dict[str, str]] = [{"extra": e} for e in (*wanted, "")]
            if need.marker is None or any(need.marker.evaluate(e) for e in environments):
                key = _key(need.name)
                needs.add(key)
                if key not in found:
                    waiting.append((need.name, sorted(need.extras)))
        found[_key(name)] = said, found.get(_key(name), (said, set()))[1] | needs
    return found


def bom(extras: list[str]) -> Any:
    """Return the bill as cyclonedx's object."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    parts = installed(extras)
    made = {}
    for key, (said, _) in parts.items():
        version = __version__ if key == "onnxcam" else said.version
        made[key] = Component(
            name=said.metadata["Name"],
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=f"{key}@{version}",
            purl=PackageURL("pypi", None, key, version),
            licenses=_licences(said),
            description=said.metadata.get("Summary"),
        )
    found = Bom()
    found.metadata.component = made.pop("onnxcam")
    for component in made.values():
        found.components.add(component)
    made["onnxcam"] = found.metadata.component
    for key, (_, needs) in parts.items():
        found.register_dependency(made[key], [made[n] for n in sorted(needs) if n in made])
    return found


def _licences(said: Distribution) -> list[Any]:
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression

    expression, name = (said.metadata.get(k) for k in ("License-Expression", "License"))
    if expression:
        return [LicenseExpression(expression)]
    return [DisjunctiveLicense(name=name)] if name and len(name) < 100 else []


def text(extras: list[str]) -> str:
    """Return the bill as JSON."""
    from cyclonedx.output.json import JsonV1Dot6

    return str(JsonV1Dot6(bom(extras)).output_as_string(indent=2))


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--extra", action="append", help="an extra of onnxcam; default: cpu")
    args = parser.parse_args()
    sys.stdout.write(f"{text(args.extra or ['cpu'])}\n")


if __name__ == "__main__":
    main()
