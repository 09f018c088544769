r"""Texts from files on their way to a person: what they say is shown, what they would do is not.

Names, labels, paths and messages of libraries come from whoever wrote a file. A control character
in them can move the cursor, set the title of a terminal or write the clipboard; a mark of text
direction shows another name than there is. All of them are written as Python writes them (`\x1b`).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

# C0, DEL, C1; marks of direction, invisible spaces and separators of lines; halves of surrogate
# pairs (bytes of a file name that are no text); annotations; tags.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)

_NAME = 120  # bytes of a file's name, of 255


def plain(text: object, most: int | None = None) -> str:
    """Return a text with nothing in it that does something to where it is shown.

    Args:
        text: Any text, or what becomes one; bytes that are no UTF-8 are shown as such.
        most: The most characters; of a longer text the middle is left out, and said.
    """
    said = text.decode(errors="backslashreplace") if isinstance(text, bytes) else str(text)
    if most is not None:
        said = shortened(said, most)
    return _UNSAFE.sub(_escaped, said)


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters, with its beginning and its end."""
    if len(text) <= most:
        return text
    gap = f" ... ({len(text)} characters) ... "
    half = max(most - len(gap), 2) // 2
    return f"{text[:half]}{gap}{text[-half:]}"


def file_name(text: str) -> str:
    """Return a text as part of a file's name: short, and of characters that every system takes.

    What differs stays different: a text that is changed ends in digits of its own.
    """
    name = re.sub(r"[^\w.+ -]+", "-", text).strip(" .") or "-"
    cut = name.encode()[:_NAME].decode(errors="ignore")
    if cut == text or (len(cut) == len(name) and not _UNSAFE.search(text)):
        return cut
    return f"{cut}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"


def json_text(value: Any, indent: int | None = 2, *, only_ascii: bool = False) -> str:
    """Return a value as JSON that every reader takes: no NaN, no control character.

    Args:
        value: Lists, mappings, texts and numbers; a number that is not finite becomes null.
        indent: Blanks before each level; None writes one line.
        only_ascii: Escape all that is not ASCII.
    """
    text = json.dumps(_finite(value), indent=indent, ensure_ascii=only_ascii, allow_nan=False)
    return _UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else _in_json(found[0]), text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return plain(value) if isinstance(value, bytes) else value


def _key(key: Any) -> Any:
    return plain(key) if isinstance(key, bytes) else key


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _in_json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
