"""What a method's map means where it ends before its last run."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from support import nets

from onnxcam import Explainer
from onnxcam.run.session import Session

X = np.random.default_rng(5).normal(size=(1, 2, 6, 6)).astype("f4")


def _found(name: str, **options: Any) -> Any:
    explain: Any = Explainer(
        nets.cnn(size=6), name, device="cpu", threads=1, upsampling="none", batch_size=1, **options
    )
    return explain(X, 1)


@cache
def _session() -> Session:
    return Session(nets.cnn(size=6), device="cpu")


def _score(x: np.ndarray) -> float:
    return float(_session().run({"x": x.astype("f4")})[0][0, 1])


@pytest.mark.parametrize("runs", [2, 40, 200])
def test_conductance_is_against_the_point_that_was_reached(runs: int) -> None:
    found = _found("conductance", parameters={"steps": 400, "baseline": 0.3}, budget=runs)
    way = found.parameters["reached"]
    assert way == (runs - 1) / 400
    rise = _score(X) - _score(0.3 + (1 - way) * (X - 0.3))
    np.testing.assert_allclose(found.signed_map.sum(), rise, atol=2e-3 * abs(rise) + 1e-5)


def test_conductance_that_walks_all_the_way_says_nothing_of_it() -> None:
    assert "reached" not in _found("conductance", parameters={"steps": 5}).parameters


def test_dff_shows_the_best_of_the_concepts_that_were_asked_about() -> None:
    whole = _found("dff", parameters={"concepts": 3})
    one = _found("dff", parameters={"concepts": 3}, budget=1)  # the layer as it is: no concept
    two = _found("dff", parameters={"concepts": 3}, budget=2)
    assert "drop" not in one.parameters
    assert two.parameters["concept_shown"] == one.parameters["concept_shown"]
    assert two.parameters["drop"] <= whole.parameters["drop"]
    maps = [_found("dff", parameters={"concepts": 3, "concept": j}).raw_map for j in range(3)]
    assert one.parameters["concept_shown"] == np.argmax([each.sum() for each in maps])
    np.testing.assert_array_equal(one.raw_map, maps[int(one.parameters["concept_shown"])])


@pytest.mark.parametrize("runs", [1, 2])
def test_sess_is_at_the_least_the_map_of_the_whole_input(runs: int) -> None:
    """Which is what it is of one scale, whose only window is that."""
    few = {"scales": 3, "keep": 0.2, "score": "score"}
    found = _found("sess", parameters=few, budget=runs)
    alone = _found("sess", parameters={**few, "scales": 1})
    assert found.parameters["windows"] == 1 and "stopped" in found.parameters
    np.testing.assert_allclose(found.raw_map, alone.raw_map, atol=1e-6)
