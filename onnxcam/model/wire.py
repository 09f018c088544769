"""Just enough of protobuf's wire format to read and write ONNX files around their weights.

A field is a tag (field number and wire type), then a varint, a fixed number of bytes, or a length
and that many bytes. Messages inside messages are length-delimited fields. See
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from onnxcam.errors import ModelError

Buffer: TypeAlias = memoryview

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Attributes:
        number: Field number.
        start: Where its tag begins.
        payload: Where its content begins.
        end: Where it ends.
    """

    number: int
    start: int
    payload: int
    end: int


def fields(data: Buffer, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message that lies in ``data[start:end]``.

    Raises:
        ModelError: It is no message, or it is cut off.
    """
    position = start
    while position < end:
        tag, payload = _varint(data, position, end)
        kind = tag & 7
        if kind == _VARINT:
            _, stop = _varint(data, payload, end)
        elif kind == _LENGTH:
            length, payload = _varint(data, payload, end)
            stop = payload + length
        elif kind in (_FIXED64, _FIXED32):
            stop = payload + (8 if kind == _FIXED64 else 4)
        else:
            raise ModelError("not an ONNX model", "export or copy the model again")
        if stop > end or tag >> 3 == 0:
            raise ModelError("not an ONNX model, or truncated", "export or copy the model again")
        yield Field(tag >> 3, position, payload, stop)
        position = stop


def header(number: int, length: int) -> bytes:
    """Return tag and length of a length-delimited field."""
    return _encoded(number << 3 | _LENGTH) + _encoded(length)


def _varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ModelError("not an ONNX model, or truncated", "export or copy the model again")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
