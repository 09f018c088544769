"""Scores as probabilities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support import nets

from onnxcam.analysis.layers import catalog
from onnxcam.model.model import load
from onnxcam.run.scores import probabilities


def test_no_rows_of_scores_are_no_rows_of_probabilities() -> None:
    reduction = catalog(load(nets.cnn())).reduction
    found = probabilities(np.zeros((0, 3), np.float32), replace(reduction, final=None))
    assert found is not None
    assert found.shape == (0, 3)
