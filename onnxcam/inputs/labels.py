"""Class names from a file: text, JSON or TOML."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike
from pathlib import Path
from typing import Any

from onnxcam.errors import InputError
from onnxcam.files import regular

FORMS = "one name a line (.txt), a JSON list or {id: name} (.json), or `labels = [...]` (.toml)"
_MOST = 32_000_000  # bytes of a file of texts: a million names
_noted: ContextVar[dict[str, str] | None] = ContextVar("noted", default=None)


def load_labels(path: str | PathLike[str]) -> tuple[str, ...]:
    """Read the class names of a model, in the order of its outputs.

    Args:
        path: A text file with one name a line; a JSON list of names, an object `{id: name}`
            (also Keras' `{id: [wordnet, name]}`), or Hugging Face's `config.json`
            (`id2label`); or a TOML file with `labels`, a list or a table `{id = name}`.
            Encoded in UTF-8. The ids must be 0, 1, 2, ... without a gap.

    Returns:
        The names; position is class number.

    Raises:
        InputError: The file cannot be read, is of none of these forms, or names no class.
    """
    path = Path(path)
    text = read_text(path)
    match path.suffix.lower():
        case ".json":
            labels = names_of(parse_json(text, path), path)
        case ".toml":
            labels = names_of(_toml_labels(text, path), path)
        case _:
            labels = _lines(text, path)
    if not labels:
        raise InputError(f"{path} names no class", f"It should hold {FORMS}")
    return labels


@contextmanager
def noted() -> Iterator[dict[str, str]]:
    """Note which description and label files are read in a block.

    Yields:
        The sha256 of each file by its name, by its path where two have one name.
    """
    found: dict[str, str] = {}
    before = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(before)


def _note(path: Path, data: bytes) -> None:
    found = _noted.get()
    if found is None:
        return
    said = hashlib.sha256(data).hexdigest()
    known = found.setdefault(path.name, said)
    if known != said:
        found[path.as_posix()] = said


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file (a byte order mark is dropped).

    Raises:
        InputError: The file cannot be read or is not UTF-8.
    """
    try:
        regular(path, _MOST)
        data = path.read_bytes()
        _note(path, data)
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}", "check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text in UTF-8 (byte {error.start})", "Save it again as UTF-8"
        ) from error
    except ValueError as error:  # a name with a zero in it
        raise InputError(f"{path} cannot be read: {error}", "check the path") from error


def parse_json(text: str, path: Path) -> Any:
    """Parse JSON.

    Raises:
        InputError: The text is not JSON; the message says where.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path} is not usable JSON: it is nested too deeply") from error


def names_of(data: object, path: Path) -> tuple[str, ...]:
    """Return the names in a list or in a mapping `{id: name}`.

    Raises:
        InputError: `data` is neither, an id is missing, or a name is not a string.
    """
    if isinstance(data, Mapping) and isinstance(data.get("id2label"), Mapping):
        data = data["id2label"]
    if isinstance(data, Mapping):
        data = _in_order(data, path)
    if not isinstance(data, Sequence) or isinstance(data, str):
        raise InputError(f"{path} holds no labels", f"It should hold {FORMS}")
    return tuple(_name(entry, index, path) for index, entry in enumerate(data))


def _in_order(table: Mapping[Any, object], path: Path) -> list[object]:
    """Return the values of `{id: name}` by id, which must count up from 0."""
    try:
        by_id = {int(key): value for key, value in table.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path}: the labels' keys are not class numbers ({error})",
            'Write {"0": "first name", "1": "second name", ...}',
        ) from error
    missing = next((index for index in range(len(table)) if index not in by_id), None)
    if missing is not None:
        raise InputError(
            f"{path}: {len(table)} labels, but none for class {missing}",
            "Number the classes 0, 1, 2, ... without a gap",
        )
    return [by_id[index] for index in range(len(table))]


def _name(entry: object, index: int, path: Path) -> str:
    """Return one name; of Keras' [wordnet id, name] the latter."""
    if isinstance(entry, list) and len(entry) == 2:
        entry = entry[1]
    if not isinstance(entry, str) or not entry.strip():
        raise InputError(
            f"{path}: the label of class {index} is {entry!r}, not a name", f"Give {FORMS}"
        )
    return entry.strip()


def _toml_labels(text: str, path: Path) -> object:
    """Return what `labels` is in a TOML text."""
    try:
        return tomllib.loads(text).get("labels")
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path} is not usable TOML: it is nested too deeply") from error


def _lines(text: str, path: Path) -> tuple[str, ...]:
    """Return the lines; a blank one would shift every class behind it, so only the end has any.

    Only a line feed ends one: Python knows ten more characters that do, which a name may hold.
    """
    lines = [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []
    if "" in lines:
        raise InputError(
            f"{path}: line {lines.index('') + 1} is empty, which shifts the classes after it",
            "Give every class one line",
        )
    if "\0" in text:
        raise InputError(f"{path} is not a text file", f"It should hold {FORMS}")
    return tuple(lines)
