"""The models as a CycloneDX bill of materials: their files, their data, their figures.

cyclonedx-python-lib makes the bill and validates it; model cards, which it cannot make yet, are
put into its JSON, in the form of CycloneDX 1.6.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxcam.audit import kept
from onnxcam.audit.extras import needed
from onnxcam.errors import InternalError, json_text, plain
from onnxcam.version import __version__


def bom_text(folder: Path) -> str:
    """Return the bill of an audit's models, CycloneDX 1.6 in JSON.

    It depends on the audit alone: made again it is the same, to the byte.
    """
    evidence, results, data = (
        kept.read(folder / name) for name in ("evidence.json", "results.json", "data/manifest.json")
    )
    said = json.loads(_outline(evidence))
    cards = {
        name: _card(model, results["figures"] if name == "model" else [], data)
        for name, model in evidence["models"].items()
    }
    for component in said["components"]:
        if component["bom-ref"] in cards:
            component["modelCard"] = cards[component["bom-ref"]]
    said.pop("serialNumber", None)
    said["metadata"].pop("timestamp", None)
    digest = evidence["models"]["model"]["files"][0]["sha256"] + data["listing_sha256"]
    said["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}"
    text = json_text(said) + "\n"
    _validate(text)
    return text


def _outline(evidence: Mapping[str, Any]) -> str:
    needed("cyclonedx", "the bill of materials")
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    bom = Bom()
    bom.metadata.tools.components.add(
        Component(name="onnxcam", version=__version__, type=ComponentType.APPLICATION)
    )
    for name, model in evidence["models"].items():
        for k, file in enumerate(model["files"]):
            kind = ComponentType.DATA if k else ComponentType.MACHINE_LEARNING_MODEL
            digest = HashType(alg=HashAlgorithm.SHA_256, content=file["sha256"])
            bom.components.add(
                Component(
                    name=plain(Path(file["path"]).name),
                    type=kind,
                    hashes=[digest],
                    bom_ref=f"{name}/{k}" if k else name,
                )
            )
    return JsonV1Dot6(bom).output_as_string()


def _card(
    model: Mapping[str, Any], figures: list[dict[str, Any]], data: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a model card: what goes in and comes out, and the figures with their intervals."""
    metrics = [
        {
            "type": f["measure"],
            "value": f"{f['value']:.6g}",
            "slice": f"{f['per']} {f['group']}".strip(),
            "confidenceInterval": {
                "lowerBound": f"{f['low']:.6g}", "upperBound": f"{f['high']:.6g}",
            },
        }
        for f in figures
        if f["per"] != "class"
    ]  # fmt: skip
    given = plain(f"{model['input']} {model['input_layout'] or ''}").strip()
    return {
        "modelParameters": {
            "datasets": [
                {
                    "type": "dataset",
                    "name": plain(Path(data["place"]).name),
                    "contents": {"properties": [
                        {"name": "onnxcam:listing_sha256", "value": data["listing_sha256"]},
                        {"name": "onnxcam:samples", "value": str(data["samples_selected"])},
                    ]},
                }
            ],
            "inputs": [{"format": given}],
            "outputs": [{"format": plain(model["reduction_layer"])}],
        },
        "quantitativeAnalysis": {"performanceMetrics": metrics},
    }  # fmt: skip


def _validate(text: str) -> None:
    """Raise InternalError unless a bill is valid; where the validator is not there, say nothing."""
    from cyclonedx.exception import MissingOptionalDependencyException
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    try:
        problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    except MissingOptionalDependencyException:
        return
    if problem is not None:
        raise InternalError(f"the bill of materials is not valid: {plain(problem, 300)}")
