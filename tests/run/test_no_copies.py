"""What a warm explanation does not do: the time beside ONNX Runtime's run has a limit."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
from support import nets

from onnxcam import Explainer
from onnxcam.targets import Score


def test_one_ready_input_is_fed_as_it_is() -> None:
    """A picture of 224 x 224 has 600 kB, and a copy asks the system for all of their pages."""
    explainer = Explainer(nets.cnn(channels=3), device="cpu", threads=1, cache=False)
    x = np.random.default_rng(0).random((1, 3, 6, 6)).astype(np.float32)
    before = x.copy()
    (runner,) = explainer._engine.of(Score())
    session: Any = runner.session  # type: ignore[union-attr]
    fed: list[Any] = []

    def run(feeds: dict[str, Any], names: list[str]) -> Any:
        fed.append(feeds[explainer.input.name])
        return type(session).run(session, feeds, names)

    with mock.patch.object(session, "run", run):
        one = explainer(x)
        two = list(explainer(np.concatenate([x, x])))
    assert np.shares_memory(fed[0], x) and len(fed[-1]) in (1, 2)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(two[1].map, one.map, rtol=1e-5, atol=1e-6)
