"""Texts from files are shown, and do nothing: on a terminal, in JSON, in names of files."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from onnxcam.errors import file_name, json_text, plain, shortened
from onnxcam.inputs import InputSpec, write_toml

UNSAFE = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F)]
UNSAFE += [*range(0x2060, 0x2070), 0xFEFF, 0xD800, 0xDFFF, 0xE0001]


@pytest.mark.parametrize("code", UNSAFE, ids=hex)
def test_no_character_that_does_something_is_left(code: int, tmp_path: Path) -> None:
    text = f"a{chr(code)}b"
    assert chr(code) not in plain(text) and plain(text).isprintable() and "\\" in plain(text)
    assert chr(code) not in file_name(text)
    said = json_text({"name": text}, None)
    assert chr(code) not in said and json.loads(said) == {"name": text}
    if not 0xD800 <= code <= 0xDFFF:
        place = tmp_path / "m.toml"
        write_toml(InputSpec(pictures=False, labels=(text, "c")), place)
        assert chr(code) not in place.read_text(encoding="utf-8").replace("\n", "") or code == 10
        assert tomllib.loads(place.read_text(encoding="utf-8"))["labels"] == [text, "c"]


@pytest.mark.parametrize("text", ["Kätzchen", "שלום", "猫", "[bold]x[/]", ":smile:", "👩‍🔬", "a b"])
def test_what_is_written_stays(text: str) -> None:
    assert plain(text) == text and json.loads(json_text(text)) == text


def test_json_has_no_number_that_is_none() -> None:
    said = json_text({"a": float("nan"), "b": [float("inf"), 1.5], b"c\xff": (b"\xff", None)})
    assert json.loads(said) == {"a": None, "b": [None, 1.5], "c\\xff": ["\\xff", None]}
    assert json_text("ä", only_ascii=True) == '"\\u00e4"'


def test_long_texts_keep_both_ends() -> None:
    short = shortened("a" * 500 + "z" * 500, 100)
    assert len(short) <= 100 and short[0] == "a" and short[-1] == "z" and "1000 characters" in short


def test_names_of_files_differ_where_texts_do() -> None:
    texts = ["x" * 300, "x" * 299 + "y", "a\x1bb", "a\x1cb", "..", "é" * 200]
    names = [file_name(t) for t in texts]
    assert len(set(names)) == len(names)
    assert all(len(n.encode()) < 200 and "/" not in n and n.strip(".") for n in names)
    assert file_name("cat picture.v2") == "cat picture.v2"
