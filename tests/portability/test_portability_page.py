"""docs/portability.md names what is run and what is emitted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import envs
import pytest
from bench import runtimes
from onnx import GraphProto

from onnxcam import compose, methods
from onnxcam.analysis import layers
from onnxcam.errors import OnnxcamError
from onnxcam.model.model import load

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "portability.md").read_text()
MODELS = ("squeezenet1.1", "japanese_vowels")


def test_the_page_names_the_versions_that_the_tests_run() -> None:
    for _, environment in runtimes.RUNTIMES.values():
        if environment is not None:
            assert f"| {envs.RECIPES[environment].version} |" in PAGE


@pytest.mark.parametrize("name", MODELS)
def test_every_operator_that_is_added_is_on_the_page(name: str) -> None:
    block = re.search(r"<!-- emitted -->\n(.*?)<!-- /emitted -->", PAGE, re.DOTALL)
    assert block
    rows = [line.split("|")[1] for line in block[1].splitlines()[2:]]
    listed = " ".join(rows).split()
    assert len(listed) == len(set(listed)) > 50
    model = load(ROOT / "models" / f"{name}.onnx")
    found = set(_added(name, model.light.graph))
    assert len(found) > 15 and found <= set(listed), found - set(listed)


def _added(name: str, plain: GraphProto) -> Iterator[str]:
    model = load(ROOT / "models" / f"{name}.onnx")
    catalog = layers.catalog(model)
    for method in map(methods.graph, methods.names("graph")):
        try:
            feature = compose.default_feature(catalog, None, method)
            made = compose.explain_graph(
                model, catalog, method, feature=feature, targets=None, upsampling="bicubic"
            )
        except OnnxcamError:  # as methods that change ReLUs where there are none
            continue
        graph = GraphProto()
        graph.node.extend(list(made.model.light.graph.node)[len(plain.node) :])
        yield from _operators(graph)


def _operators(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            yield from _operators(attribute.g)
