"""A text through a model: its tokens, the embedding as the feature layer, what each word counts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxcam import methods
from onnxcam.analysis.layers.lookups import companions, embedding, token_input
from onnxcam.errors import InputError, UsageError, bounded
from onnxcam.explain import Explainer
from onnxcam.inputs.arrays import load_array
from onnxcam.inputs.vocabulary import Vocabulary
from onnxcam.model.model import Model, load
from onnxcam.output.wording import Wording, wording

Array: TypeAlias = np.ndarray[Any, Any]
USUAL = "layer-integrated-gradients"


@bounded("the text cannot be explained")
def explained_text(
    model: Any,
    words: str | os.PathLike[str] | Array,
    tokens: Vocabulary | str | os.PathLike[str],
    method: str = USUAL,
    *,
    target: Any = None,
    layers: Sequence[str] = (),
    given: Mapping[str, Array] | None = None,
    input: str | None = None,
    **options: Any,
) -> Wording:
    """Explain which tokens of a text count.

    Args:
        model: Path, bytes or proto of an ONNX model that takes numbers of tokens.
        words: The numbers of the tokens [T] or [1, T], a .npy file of them, a text file, or a text.
        tokens: What they stand for, see :class:`onnxcam.inputs.vocabulary.Vocabulary`.
        method: The method; one at a feature layer takes the embedding of the tokens.
        target: As in a call of :class:`onnxcam.Explainer`.
        layers: The feature layer, where it shall be another.
        given: Arrays for the model's other inputs; a mask, segments and positions are filled in.
        input: Name of the input of the tokens; None finds it.
        options: As of :class:`onnxcam.Explainer`.

    Returns:
        The text and its map, by tokens; its ``words()`` are the words.

    Raises:
        OnnxcamError: The model takes no tokens, or as of :class:`onnxcam.Explainer`.
    """
    loaded = load(model)
    table = tokens if isinstance(tokens, Vocabulary) else Vocabulary.read(tokens)
    name = input or _input_of(loaded)
    ids = _numbers(words, table)
    dtype = next((p.dtype for p in loaded.inputs if p.name == name), None)
    ids = ids.astype(dtype or np.int64)
    layer = next(iter(layers), None)
    if layer is None and methods.find(method).takes_feature:
        layer = embedding(loaded, name)
    explain = Explainer(loaded, method, feature_layer=layer, input=name, **options)
    others = {**companions(loaded, name, ids), **(given or {})}
    found = explain(ids, target=target, extra_inputs=others)
    return wording(found, table)


def _input_of(model: Model) -> str:
    found = token_input(model)
    if found is None:
        raise UsageError(
            "no input of the model holds numbers of tokens that an embedding is looked up by",
            "name it as `input`, or explain other inputs by `onnxcam explain`",
        )
    return found.name


def _numbers(words: str | os.PathLike[str] | Array, table: Vocabulary) -> Array:
    """Return the numbers of the tokens, [1, T]."""
    if isinstance(words, str | os.PathLike):
        place = Path(words)
        if place.suffix.lower() == ".npy":
            words = load_array(place, "tokens")
        elif place.suffix.lower() == ".txt" and _is_file(place):
            return table.numbers(place.read_text("utf-8", errors="replace").strip())
        else:
            return table.numbers(str(words))
    found = np.asarray(words)
    if (
        found.dtype.kind not in "iu"
        or found.ndim not in (1, 2)
        or 1 not in (found.ndim, len(found))
    ):
        raise InputError(
            f"an array of {found.dtype}{list(found.shape)} is no text",
            "give the numbers of the tokens of one text, [T] or [1, T]",
        )
    return found.reshape(1, -1)


def _is_file(place: Path) -> bool:
    try:
        return place.is_file()
    except OSError:  # a text is no name
        return False
