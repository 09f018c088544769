"""How many inputs run together, and in which memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import nets

from onnxcam import Explainer
from onnxcam.run.hardware import Provider
from onnxcam.run.session import Session
from onnxcam.run.together import Stack, together

CPU, GPU = Provider("CPUExecutionProvider", ""), Provider("CUDAExecutionProvider", "")
PICTURE = 3 * 224 * 224 * 4


@pytest.mark.parametrize(
    ("size", "threads", "backward", "found"),
    [(100, 1, False, 8), (100, 1, True, 8), (PICTURE, 1, False, 3), (PICTURE, 2, False, 6),
     (PICTURE, 16, False, 8), (PICTURE, 16, True, 1), (2**30, 1, False, 1), (0, 1, True, 8)],
)  # fmt: skip
def test_what_a_cache_holds_runs_together(
    size: int, threads: int, backward: bool, found: int
) -> None:
    assert together(8, size, CPU, threads, backward=backward) == found
    assert together(8, size, GPU, threads, backward=backward) == 8
    assert together(1, size, CPU, threads, backward=backward) == 1


def test_large_inputs_run_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The map is the same whatever their number, and the memory of a batch is the next one's."""
    sizes, places = [], set()
    run = Session.run

    def watched(self: Session, feeds: Any, outputs: Any = None) -> Any:
        if len(feeds["x"]) > 1:
            sizes.append(len(feeds["x"]))
            places.add(feeds["x"].ctypes.data)
        return run(self, feeds, outputs)

    monkeypatch.setattr(Session, "run", watched)
    x = np.random.default_rng(0).normal(size=(1, 2, 300, 300)).astype("f4")  # 720,000 bytes
    options: dict[str, Any] = {"parameters": {"masks": 9}, "device": "cpu", "threads": 1}
    found = Explainer(nets.cnn(size=300), "rise", **options)(x, target=1)
    assert sizes == [2, 2, 2, 2] and len(places) == 1
    alone = Explainer(nets.cnn(size=300), "rise", batch_size=1, **options)(x, target=1)
    np.testing.assert_allclose(found.signed_map, alone.signed_map, rtol=1e-4)
    np.testing.assert_allclose(found.standard_error, alone.standard_error, rtol=1e-4)


def test_a_stack_takes_fewer_and_more() -> None:
    rng, stack = np.random.default_rng(1), Stack()
    for count in (3, 1, 2, 3, 5, 4):
        arrays = [rng.normal(size=(2, 4)) for _ in range(count)]
        np.testing.assert_array_equal(stack.of(arrays), np.stack(arrays))
