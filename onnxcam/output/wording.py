"""The map of a text: its tokens and its words, each with what it is worth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxcam.errors import InputError, UsageError, json_text
from onnxcam.files import write_whole
from onnxcam.inputs.vocabulary import Token, Vocabulary, listed
from onnxcam.output.render import tokens as drawn

Array: TypeAlias = np.ndarray[Any, Any]
Tokens: TypeAlias = "Vocabulary | str | os.PathLike[str] | Sequence[str]"


@dataclass(frozen=True, eq=False)
class Wording:
    """A text and its map.

    Attributes:
        texts: Its tokens, or its words.
        map: What each is worth, float [T]: of a word the sum over its tokens.
        joined: Which are written close to the one before.
        special: Which stand for no text, as "[CLS]".
        title: What was found.
        subtitle: How, and what looks wrong.
        signed: Whether values below 0 mean something.
        error: Standard error of each, None where the map is not random. Of a word that of a sum of
            tokens that are independent.
    """

    texts: tuple[str, ...]
    map: Array
    joined: tuple[bool, ...]
    special: tuple[bool, ...]
    title: str
    subtitle: str
    signed: bool
    error: Array | None = None

    def words(self) -> Wording:
        """Return the words: tokens that are written close to those before are put together."""
        groups: list[list[int]] = []
        for i, joined in enumerate(self.joined):
            last = groups[-1][-1] if groups else None
            if last is not None and joined and not self.special[i] and not self.special[last]:
                groups[-1].append(i)
            else:
                groups.append([i])
        error = self.error
        return Wording(
            tuple("".join(self.texts[i] for i in group) for group in groups),
            np.array([self.map[group].sum() for group in groups]),
            tuple(False for _ in groups),
            tuple(self.special[group[0]] for group in groups),
            self.title,
            self.subtitle,
            self.signed,
            None if error is None else np.array([np.sqrt((error[g] ** 2).sum()) for g in groups]),
        )

    def html(self) -> str:
        """Return the text in the colours of its map, as a piece of HTML without scripts."""
        return drawn.html(self._drawn)

    def terminal(self, *, colour: bool = True) -> str:
        """Return the text for a terminal, in colours or with numbers."""
        return drawn.terminal(self._drawn, colour=colour)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a page (.html), a text with numbers (.txt) or its values (.json).

        Raises:
            UsageError: The ending is another one.
            OnnxcamError: The file cannot be written.
        """
        place = Path(path)
        kind = place.suffix.lower()
        if kind not in (".html", ".txt", ".json"):
            raise UsageError(f"{place}: cannot write a text as {kind}", "use .html, .txt or .json")
        if kind == ".html":
            text = drawn.page(self.title, self.html())
        else:
            text = self.terminal(colour=False) + "\n" if kind == ".txt" else json_text(self.records)
        write_whole(place, text.encode())

    @property
    def records(self) -> list[dict[str, Any]]:
        """What JSON can hold: a record for each token or word."""
        errors = [None] * len(self.texts) if self.error is None else self.error.tolist()
        rows = zip(self.texts, self.map.tolist(), errors, self.special, strict=True)
        return [
            {"text": text, "value": value, "standard_error": error, "special": special}
            for text, value, error, special in rows
        ]

    @property
    def _drawn(self) -> drawn.Text:
        look = (self.title, self.subtitle, self.signed, self.special)
        return drawn.Text(self.texts, self.map, self.joined, *look)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return self.html()


def wording(e: Any, tokens: Tokens) -> Wording:
    """Return the map of a text by its tokens.

    Args:
        e: An :class:`onnxcam.output.explanation.Explanation` of an input of tokens; of an embedding
            as the feature layer, or of any other map with a value for each.
        tokens: A tokenizer.json or a list of tokens, as a file or read; or the tokens themselves.

    Raises:
        InputError: The map has not one value for each token, or a file cannot be read.
    """
    values = np.asarray(e.map, np.float64)
    if values.ndim != 1:
        raise InputError(
            f"the map has {values.ndim} axes, and that of a text has one",
            "explain a model that takes numbers of tokens",
        )
    if isinstance(tokens, Vocabulary | str | os.PathLike):
        table = tokens if isinstance(tokens, Vocabulary) else Vocabulary.read(tokens)
        if e.tensor.dtype.kind not in "iu" or e.tensor.shape != values.shape:
            raise InputError(
                f"the input of {e.tensor.dtype}{list(e.tensor.shape)} holds no numbers of tokens",
                "name the tokens themselves, one for each value of the map",
            )
        found: list[Token] = table.tokens(e.tensor)
    else:
        found = listed(tokens)
    if len(found) != len(values):
        raise InputError(
            f"{len(found)} tokens for a map of {len(values)} values", "name one for each value"
        )
    error = e.standard_error
    fits = error is not None and error.shape == values.shape
    how = [f"{e.method} at {e.feature_layer}", *(f"Warning: {each}" for each in e.diagnosis)]
    return Wording(
        tuple(t.text for t in found),
        values,
        tuple(not t.starts for t in found),
        tuple(t.special for t in found),
        e.title,
        "\n".join(how),
        e.signed or bool((values < 0).any()),
        np.asarray(error, np.float64) if fits else None,
    )
