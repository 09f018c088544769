"""What the numbers of tokens stand for: words and pieces of words, from a tokenizer's own files.

Only the table of a `tokenizer.json` (Hugging Face), a `vocab.txt` (BERT) or a list of tokens is
read; that takes no library. To cut a text into tokens the library `tokenizers` is asked, where it
is installed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxcam.errors import InputError, UsageError

Array: TypeAlias = np.ndarray[Any, Any]
_STARTS = ("Ġ", "▁")  # of GPT-2 and SentencePiece: a space before the word
_GOES_ON = "##"  # of WordPiece: no space before the piece
_SPECIAL = ("[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]", "<s>", "</s>", "<pad>", "<mask>", "<unk>")


@dataclass(frozen=True)
class Token:
    """A token.

    Attributes:
        text: What it stands for, to be read.
        starts: Whether a word begins with it.
        special: Whether it stands for no text, as "[CLS]".
    """

    text: str
    starts: bool = True
    special: bool = False


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of a model.

    Attributes:
        table: The token of each number, as the file spells it.
        special: Those that stand for no text.
        path: The file; None for none.
    """

    table: Mapping[int, str]
    special: frozenset[str] = field(default_factory=frozenset)
    path: Path | None = None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Read a `tokenizer.json`, or a text file with a token in each line, from number 0 on.

        Raises:
            InputError: It cannot be read, or holds no table of tokens.
        """
        place = Path(path)
        try:
            text = place.read_text("utf-8")
            if place.suffix.lower() != ".json":
                lines = text.splitlines()
                table = {i: line.rstrip("\r") for i, line in enumerate(lines)}
                return cls(table, frozenset(_SPECIAL), place)
            return cls._of_json(json.loads(text), place)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{place}: no tokens can be read from it: {error}",
                "give a tokenizer.json, or a text file with a token in each line",
            ) from error

    @classmethod
    def _of_json(cls, said: Any, place: Path) -> Vocabulary:
        if "model" not in said:  # a vocab.json: {token: number}
            return cls({int(i): token for token, i in said.items()}, frozenset(_SPECIAL), place)
        vocabulary = said["model"]["vocab"]
        if isinstance(vocabulary, dict):
            table = {int(i): token for token, i in vocabulary.items()}
        else:  # of Unigram: [token, logarithm of its probability]
            table = {i: row[0] for i, row in enumerate(vocabulary)}
        added = said.get("added_tokens") or []
        table |= {int(each["id"]): each["content"] for each in added}
        special = {each["content"] for each in added if each.get("special")}
        return cls(table, frozenset(special | set(_SPECIAL)), place)

    def tokens(self, numbers: Sequence[int] | Array) -> list[Token]:
        """Return the token of each number; one that is not in the table is its number."""
        return [self._token(int(i), first=k == 0) for k, i in enumerate(np.asarray(numbers))]

    def _token(self, number: int, *, first: bool) -> Token:
        said = self.table.get(number)
        if said is None:
            return Token(f"<{number}>", special=True)
        if said in self.special:
            return Token(said, special=True)
        if self._in_bytes:
            said = _as_text(said)
        if self._by_space:
            return Token(said[1:] or " ", True) if said[:1] in (" ", "▁") else Token(said, first)
        goes_on = said.startswith(_GOES_ON) and len(said) > len(_GOES_ON)
        return Token(said[len(_GOES_ON) :] if goes_on else said, not goes_on)

    @cached_property
    def _by_space(self) -> bool:
        """Whether the first piece of a word says so, not the others."""
        return any(token[:1] in _STARTS and len(token) > 1 for token in self.table.values())

    @cached_property
    def _in_bytes(self) -> bool:
        """Whether bytes are spelled as letters, as GPT-2 does."""
        return any(token[:1] == "Ġ" for token in self.table.values())

    def numbers(self, text: str) -> Array:
        """Return a text as numbers of tokens, int64 [1, T].

        Raises:
            UsageError: The library `tokenizers` is not installed, or the file is no tokenizer.
        """
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise UsageError(
                "to cut a text into tokens takes the library tokenizers, which is not installed",
                "install tokenizers, or give the numbers of the tokens as .npy",
            ) from error
        if self.path is None or self.path.suffix.lower() != ".json":
            raise UsageError(
                "a list of tokens does not say how a text is cut into them",
                "give a tokenizer.json, or the numbers of the tokens as .npy",
            )
        try:
            found = Tokenizer.from_file(str(self.path)).encode(text).ids
        except Exception as error:  # whatever a library written in Rust raises
            raise InputError(f"{self.path}: {error}", "give the numbers as .npy") from error
        return np.array([found], np.int64)


def listed(tokens: Sequence[str]) -> list[Token]:
    """Return tokens that a caller names: each is a word unless it goes on with "##"."""
    found = []
    for each in tokens:
        goes_on = each.startswith(_GOES_ON) and len(each) > len(_GOES_ON)
        text = each[len(_GOES_ON) :] if goes_on else each
        found.append(Token(text, not goes_on, each in _SPECIAL))
    return found


def _as_text(token: str) -> str:
    """Return a token of letters for bytes as text; a part of a letter stays as it is."""
    letters = _letters()
    if any(letter not in letters for letter in token):
        return token
    return bytes(letters[letter] for letter in token).decode("utf-8", errors="replace")


def _letters() -> dict[str, int]:
    """Return the byte of each letter: itself where it can be printed, else one from 256 on."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(b): b for b in printed} | {chr(256 + i): b for i, b in enumerate(others)}
