"""Layers by the names that people know: of nodes, and of the modules that an exporter came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from onnxcam.errors import UsageError
from onnxcam.model.model import Model

_SCOPES = "pkg.torch.onnx.name_scopes"  # torch's newer exporter writes it: "['', 'net', 'relu']"


@dataclass(frozen=True)
class Origin:
    """Where a tensor comes from.

    Attributes:
        node: Name of the node that makes it.
        module: Path of the module that the node was in, "features.18.2"; "" where nothing says.
    """

    node: str = ""
    module: str = ""


def origins(model: Model) -> dict[str, Origin]:
    """Return where the tensors of a model's main graph come from, by their names."""
    return {y: Origin(n.name, _module(n)) for n in model.light.graph.node for y in n.output if y}


def matching(name: str, known: Mapping[str, Origin]) -> list[str]:
    """Return the tensors that a node or a module of this name makes, in the order of ``known``.

    A module is found by its path, or by the end of it where there is one such path alone:
    "layer4.2.conv3", "classifier".

    Raises:
        UsageError: The name stands for several modules.
    """
    nodes = [t for t, origin in known.items() if origin.node.strip("/") == name.strip("/")]
    if nodes or not name.strip("/"):
        return nodes
    wanted = _joined(name.strip("/").split("/")).split(".")
    found: dict[str, list[str]] = {}
    for tensor, origin in known.items():
        parts = origin.module.split(".")
        for i in range(len(parts) - len(wanted) + 1):
            if parts[i : i + len(wanted)] == wanted:
                found.setdefault(".".join(parts[: i + len(wanted)]), []).append(tensor)
                break
    whole = found.get(".".join(wanted))
    if whole is None and len(found) > 1:
        raise UsageError(
            f"{name!r} is the end of {len(found)} modules", f"name one: {', '.join(found)}"
        )
    return whole or next(iter(found.values()), [])


def names_of(known: Iterable[tuple[str, Origin]]) -> list[str]:
    """Return every name that finds one of some tensors: their own, of nodes and of modules."""
    pairs = list(known)
    modules = dict.fromkeys(o.module for _, o in pairs)
    nodes = dict.fromkeys(o.node for _, o in pairs)
    return [n for n in dict.fromkeys([*modules, *nodes, *(t for t, _ in pairs)]) if n]


def _module(node: onnx.NodeProto) -> str:
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            scopes = [part.strip(" '\"") for part in entry.value.strip("[]").split(",")]
            return scopes[-2] if len(scopes) > 1 else ""
    return _joined(node.name.strip("/").split("/")[:-1])


def _joined(parts: list[str]) -> str:
    """Return the path of scopes such as features / features.18 / features.18.2, with points."""
    path, last = "", ""
    for part in parts:
        if last and part.startswith(f"{last}."):
            path = path.removesuffix(last) + part
        else:
            path = f"{path}.{part}" if path else part
        last = part
    return path
