"""What a file of gradients must return, made in another way: by `vjp_model`."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from onnxcam.autodiff.api import COTANGENT, differentiated
from onnxcam.compose.gradients import Gradients, value_graph
from onnxcam.model.draft import exposed
from onnxcam.model.model import Model
from onnxcam.names import VALUE
from onnxcam.run.session import Session
from onnxcam.targets import Score

Array: TypeAlias = np.ndarray[Any, Any]


def derived(
    source: Model, explained: Gradients, feeds: dict[str, Array], classes: Array, device: Any
) -> list[Array]:
    """Return the gradients of a one in the class's place, or of another target's value.

    Args:
        source: The model.
        explained: The model with its gradients.
        feeds: What both are run on.
        classes: Which classes the second explained, int64 [N, 1].
        device: Where they run.
    """
    if isinstance(explained.plan.target, Score):
        name, shown = explained.score, exposed(source, [explained.score])
    else:
        name, shown = VALUE, value_graph(source, explained.plan)
    given = {port.name for port in shown.inputs}
    feeds = {key: array for key, array in feeds.items() if key in given}
    (value,) = _run(shown, feeds, [name], device)
    seed = np.ones_like(value) if name == VALUE else _seed(explained, value, classes)
    made = differentiated(shown, explained.wrt, [name])
    return _run(made, {**feeds, COTANGENT + name: seed}, list(explained.outputs), device)


def _seed(explained: Gradients, score: Array, classes: Array) -> Array:
    """Return a one in the place of the class of each input."""
    reduction = explained.plan.catalog.reduction
    seed, axes = np.zeros_like(score), (reduction.batch_axis, reduction.class_axis)
    columns = np.moveaxis(seed, [a for a in axes if a is not None], range(2 - axes.count(None)))
    rows = () if axes[0] is None else (np.arange(len(classes)),)
    own = reduction.first + (classes[:, 0] if rows else classes[0, 0])
    columns[rows if axes[1] is None else (*rows, own)] = 1
    return seed


def _run(model: Model, feeds: dict[str, Array], outputs: list[str], device: Any) -> list[Array]:
    return Session(model, device=device, sparing=True).run(feeds, outputs)
