"""Whose fault it is: a model that ONNX Runtime itself refuses is not explained by anybody.

A file may contradict itself (shapes that do not meet, say) in ways that onnx's checker lets pass
and onnxcam notices late, by an assumption of its own that does not hold. Before that is called a
fault of onnxcam, ONNX Runtime is asked whether it takes the model at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from onnx import ModelProto

from onnxcam.errors import InternalError, ModelError, OnnxcamError, bounded
from onnxcam.model.model import Model, load
from onnxcam.run.samples import sample_feeds
from onnxcam.run.session import Session

P = ParamSpec("P")
R = TypeVar("R")


def answered_for(failed: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function that takes a model raise what :func:`bounded` says, or whose fault it is.

    Args:
        failed: What fails, as in "the model cannot be explained".

    Returns:
        A decorator. The model is the first argument of the function that is one, or that has one
        as its ``model``.
    """

    def decorated(work: Callable[P, R]) -> Callable[P, R]:
        @wraps(work)
        def asked(*args: P.args, **options: P.kwargs) -> R:
            with answering(failed, *args, options.get("model")):
                return work(*args, **options)

        return asked

    return decorated


@contextmanager
def answering(failed: str, *given: Any) -> Iterator[None]:
    """Do as :func:`answered_for` in a block.

    Args:
        failed: What fails.
        *given: The model, or what has one as its ``model``; others are passed over.
    """
    try:
        with bounded(failed):
            yield
    except InternalError as error:
        found = refusal(_model(given))
        if found is None:
            raise
        raise found from error


def refusal(model: Model | None) -> ModelError | None:
    """Return what ONNX Runtime has against a model; None where it runs it, or nothing tells.

    Args:
        model: The model; it is run on random inputs.
    """
    if model is None:
        return None
    try:
        Session(model, device="cpu", optimise=False).run(sample_feeds(model))
    except ModelError as error:
        return error
    except OnnxcamError as error:
        hint = "its shapes contradict each other: export the model again, and run it as it is"
        return ModelError(f"{error.message} on random inputs; nor can it be explained", hint)
    return None


def _model(given: tuple[Any, ...]) -> Model | None:
    """Return the first of some arguments that is or has a model, loaded."""
    for each in given:
        source = getattr(each, "model", each)
        if isinstance(source, Model):
            return source
        if isinstance(source, str | Path | os.PathLike | bytes | ModelProto):
            try:
                return load(source)
            except OnnxcamError:
                return None
    return None
