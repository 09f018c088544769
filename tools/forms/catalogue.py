"""Every form: its name, its group and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx
from onnx import ModelProto
from onnxruntime.quantization import QuantFormat, QuantType

from forms import rewritten, tools
from forms.sources import NotMadeError, Source

FLOAT, HALF, INT8 = "float", "half", "int8"


@dataclass(frozen=True)
class Form:
    """A form that a file can be put into.

    Attributes:
        name: For the table.
        group: "float", "half" or "int8": how near the map must be to the float file's.
        make: Writes the file; raises where that cannot be.
    """

    name: str
    group: str
    make: Callable[[Source, Path], None]


def _saved(make: Callable[[Source], ModelProto]) -> Callable[[Source, Path], None]:
    def write(source: Source, path: Path) -> None:
        onnx.save(make(source), str(path))

    return write


def _edited(edit: Callable[[ModelProto], ModelProto]) -> Callable[[Source, Path], None]:
    return _saved(lambda source: edit(onnx.load(str(source.path))))


def _again(name: str, otherwise: Callable[[Source, Path], None]) -> Callable[[Source, Path], None]:
    """Let the exporter write it where it can, else make it of the file."""

    def write(source: Source, path: Path) -> None:
        if name not in source.more:
            return otherwise(source, path)
        try:
            return source.more[name](path)
        except Exception as error:  # noqa: BLE001  # the exporter's
            said = " ".join(str(error).split())[:120]
            raise NotMadeError(f"the exporter: {said}") from None

    return write


def _cannot(reason: str) -> Callable[[Source, Path], None]:
    def write(source: Source, path: Path) -> None:
        raise NotMadeError(reason)

    return write


def _copied(source: Source, path: Path) -> None:
    onnx.save(onnx.load(str(source.path)), str(path))


def _external(source: Source, path: Path) -> None:
    rewritten.external_data(onnx.load(str(source.path)), path)


def _opset(number: int) -> Form:
    convert = partial(rewritten.at_opset, number=number)
    return Form(f"opset {number}", FLOAT, _again(f"opset {number}", _edited(convert)))


S8, U8, S16, U16 = QuantType.QInt8, QuantType.QUInt8, QuantType.QInt16, QuantType.QUInt16
QDQ, QOP = QuantFormat.QDQ, QuantFormat.QOperator
ONLY_TORCH = "only torch exports it"

FORMS = (
    Form("float", FLOAT, _copied),
    *map(_opset, range(7, 27)),
    Form("batch 1", FLOAT, _again("batch 1", _cannot(ONLY_TORCH))),
    Form("batch 8", FLOAT, _again("batch 8", _cannot(ONLY_TORCH))),
    Form("batch dynamic", FLOAT, _edited(rewritten.dynamic_batch)),
    Form("batch -1", FLOAT, _edited(rewritten.batch_minus_one)),
    Form("no batch", FLOAT, _again("no batch", _edited(rewritten.without_batch))),
    Form("no batch (Unsqueeze)", FLOAT, _edited(rewritten.without_batch)),
    Form("no shapes", FLOAT, _edited(rewritten.no_shapes)),
    Form("external data", FLOAT, _external),
    Form("constants as nodes", FLOAT, _edited(rewritten.constants)),
    Form("weights as inputs", FLOAT, _edited(rewritten.weights_as_inputs)),
    Form("local functions", FLOAT, _edited(rewritten.functions)),
    Form("odd names", FLOAT, _edited(rewritten.odd_names)),
    Form("unsorted nodes", FLOAT, _edited(rewritten.unsorted)),
    Form("onnxsim", FLOAT, _saved(tools.simplified)),
    Form("onnxslim", FLOAT, _saved(tools.slimmed)),
    Form("ORT basic", FLOAT, tools.optimised("basic")),
    Form("ORT extended", FLOAT, tools.optimised("extended")),
    Form("ORT all", FLOAT, tools.optimised("all")),
    Form("fp16 converter-common", HALF, _saved(tools.fp16_converter_common)),
    Form("fp16, float ports", HALF, _saved(tools.fp16_kept_io)),
    Form("fp16 ORT transformers", HALF, _saved(tools.fp16_transformers)),
    Form("fp16 onnxmltools", HALF, _saved(tools.fp16_onnxmltools)),
    Form("fp16 torch half", HALF, _again("fp16 torch half", _cannot(ONLY_TORCH))),
    Form("auto-mixed", HALF, _saved(tools.auto_mixed)),
    Form("QDQ static", INT8, tools.static(QDQ, U8, S8, True)),
    Form("QOperator static", INT8, tools.static(QOP, U8, U8, False)),
    Form("dynamic", INT8, tools.dynamic_int8),
    Form("QDQ 16 bit", INT8, tools.static(QDQ, U16, S8, True)),
    Form("QDQ 16 bit, both", INT8, tools.static(QDQ, S16, S16, False)),
)
