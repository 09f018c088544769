"""The methods of docs/extending.md run, and do what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import nets

from onnxcam import Explainer, methods
from onnxcam.errors import UsageError
from onnxcam.methods.registry import _METHODS
from onnxcam.run.session import Session

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "extending.md").read_text()
X = np.random.default_rng(5).normal(size=(1, 2, 6, 6)).astype("f4")


@pytest.fixture(scope="module", autouse=True)
def _entered() -> Iterator[None]:
    before = set(methods.names())
    names: dict[str, Any] = {"__name__": "extending"}
    section = PAGE[PAGE.index("## A method") :]
    for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        if "_method(" in code:
            exec(code, names)
    yield
    for name in set(methods.names()) - before:
        del _METHODS.entries[name]


def _found(name: str, **options: Any) -> Any:
    return Explainer(nets.cnn(), name, device="cpu", upsampling="none", **options)(X, target=1)


def _scores(x: np.ndarray) -> np.ndarray:
    return Session(nets.cnn(), device="cpu").run({"x": x})[0][:, 1]


def test_there_is_one_of_every_kind() -> None:
    mine = [methods.find(name) for name in methods.names() if name.startswith("my-")]
    assert {m.kind for m in mine} == {"graph", "repeated", "sampling", "head"}
    assert all(m.claim and m.limits and "=" in m.summary for m in mine)


def test_the_graph_method() -> None:
    np.testing.assert_allclose(_found("my-gradcam").map, _found("gradcam").map)


def test_the_repeated_method() -> None:
    """Of random copies the same come again."""
    found = _found("my-vargrad", parameters={"copies": 9}, seed=1)
    assert found.map.shape == (6, 6) and (found.map >= 0).all() and found.map.any()
    np.testing.assert_array_equal(
        found.map, _found("my-vargrad", parameters={"copies": 9}, seed=1).map
    )
    assert found.parameters["seed"] == 1


def test_a_method_that_cannot_end_early_takes_no_budget() -> None:
    with pytest.raises(UsageError, match="my-vargrad has no map before its last run"):
        _found("my-vargrad", budget=3)


def test_the_sampling_method() -> None:
    found = _found("my-occlusion", parameters={"rows": 3})
    for stripe in range(3):
        without = X.copy()
        without[:, :, 2 * stripe : 2 * stripe + 2] = 0
        drop = _scores(X) - _scores(without)
        np.testing.assert_allclose(
            found.map[2 * stripe : 2 * stripe + 2], drop[0], rtol=1e-4, atol=1e-6
        )


def test_the_head_method() -> None:
    """The head is linear: y_k = fc_k mean(A_k) + b."""
    found, weights = _found("my-channel-score", feature_layer="relu"), {}
    for tensor in nets.cnn().graph.initializer:
        weights[tensor.name] = nets.numpy_helper.to_array(tensor)
    proto = nets.cnn()
    proto.graph.output.append(nets.helper.make_empty_tensor_value_info("relu"))
    (a,) = Session(proto, device="cpu").run({"x": X}, ["relu"])
    scores = weights["fc"][1] * a[0].mean((1, 2)) + weights["fcb"][1]
    want = np.tensordot(scores, a[0], 1)
    np.testing.assert_allclose(found.signed_map, want, rtol=1e-4, atol=1e-5)
