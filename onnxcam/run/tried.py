"""An estimate of a method that runs a model many times; by single inputs where batches fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from onnxcam.errors import InputError
from onnxcam.methods.registry import Estimate
from onnxcam.run.interrupt import Limit
from onnxcam.run.probe import Probe

if TYPE_CHECKING:
    from onnxcam.run.sampling import Sampler

Array: TypeAlias = np.ndarray[Any, Any]


def tried(
    sampler: Sampler,
    tensor: Array,
    targets: Sequence[int],
    others: Mapping[str, Array],
    limit: Limit,
) -> tuple[Estimate, Probe]:
    """Return an estimate; by runs of one input where the file holds a batch of one inside."""
    try:
        return sampler.estimate(tensor, targets, others, limit)
    except InputError:
        if sampler._engine.most == 1 or sampler._engine.batch.is_fixed:
            raise
        return replace(sampler, batch_size=1).estimate(tensor, targets, others, limit)
