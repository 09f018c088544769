"""Deep feature factorization: by hand, against the peer's factors, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import nets
from support.peer_packages import pytorch_grad_cam

from onnxcam import Explainer
from onnxcam.errors import UsageError
from onnxcam.methods.cam.factors import factors

pytest.importorskip("sklearn")

X = np.array([[[[1, 0], [2, -1]], [[0, 3], [0, 0]]]], "f4")  # no place has both channels


def _found(x: np.ndarray, target: Any, **settings: Any) -> Any:
    explain = Explainer(
        nets.one_by_one(), "dff", device="cpu", threads=1, upsampling="none", feature_layer="a",
        parameters={"concepts": 2, **settings},
    )  # fmt: skip
    return explain(x, target=target)


def test_two_channels_that_never_meet_are_two_concepts() -> None:
    """Without channel 0 class 0 loses 3/4, class 1 gains 6/4; without channel 1, 9/4 and 12/4."""
    maps = np.maximum(X[0], 0)
    for target in (0, 1):
        found = _found(X, target)
        np.testing.assert_allclose(found.map, maps[1], atol=2e-3)
        np.testing.assert_allclose(found.parameters["drop"], (9, 12)[target] / 4, rtol=2e-3)
        shown = int(found.parameters["concept_shown"])
        other = _found(X, target, concept=1 - shown)
        np.testing.assert_allclose(other.map, maps[0], atol=2e-3)
        np.testing.assert_allclose(other.parameters["drop"], (3, -6)[target] / 4, atol=2e-3)


def test_a_concept_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="concept 2 is asked for, and there are 2"):
        _found(X, 0, concept=2)


@pytest.mark.peers
def test_the_factors_are_pytorch_grad_cams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of channels whose minimum is 0, but for the scale of each concept."""
    pytorch_grad_cam(monkeypatch)
    module = pytest.importorskip(
        "pytorch_grad_cam.feature_factorization.deep_feature_factorization"
    )
    a = np.maximum(np.random.default_rng(0).normal(size=(8, 5, 6)), 0)
    columns, maps = module.dff(a[None].copy(), 3)
    got = factors(a.reshape(8, -1), 3, "dff")
    length = np.linalg.norm(columns, axis=0)
    np.testing.assert_allclose(got[0], columns / length, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        got[1], maps[0].reshape(3, -1) * length[:, None], rtol=1e-6, atol=1e-9
    )
