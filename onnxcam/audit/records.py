"""The records: what is kept of a sample and a model, column by column.

The columns are those of the Parquet files in an audit's folder; `docs/audit-records.md` is written
from this table. A column is never given another meaning: a new meaning is a new name, and a higher
:data:`VERSION`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from onnxcam.audit.extras import needed

VERSION = 1
Row: TypeAlias = dict[str, Any]
KEY = b"onnxcam.audit.records"  # of the version, in the metadata of a Parquet file


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: Its name.
        kind: Of its values: text, whole, number, truth, texts, numbers, groups or bytes.
        meaning: What it says; null where that is unknown or makes no sense.
    """

    name: str
    kind: str
    meaning: str


def _columns(text: str) -> tuple[Column, ...]:
    rows = (line.split(maxsplit=2) for line in text.strip().splitlines())
    return tuple(Column(*row) for row in rows)


RECORDS = _columns("""
id                text     the sample's name in the data set
sha256            text     of its content: a file's bytes, or an array's dtype, shape and values
model             text     "model", or "baseline" for the other one
method            text     how it was explained
label             text     its class in the words of the data set
slices            groups   the groups that it is in: column -> value
truth             whole    the class index that the label names
truth_label       text     its name in the model
predicted         whole    the class index of the highest score
predicted_label   text     its name
probability       number   of that class, where the model says one
margin            number   the highest score minus the second
score             number   the highest score as it is; of a model without classes its output
correct           truth    whether the predicted class is the label's
target            whole    the class that is explained
target_label      text     its name
peak_y            number   the map's highest place, from 0 (top) to 1 (bottom); of a signal 0.5
peak_x            number   the same from left to right
peak_value        number   the map's highest value, raw
entropy           number   of the map's positive part: 0 a single place, 1 the same everywhere
object_energy     number   share of the map's positive part that lies in the object
object_area       number   share of the input that the object covers
pointing_hit      truth    whether the highest place lies in the object
border_share      number   share of the positive part in the outer tenth along every edge
corner_share      number   the same in that of the four corners (a quarter of each edge) with most
diagnosis         texts    what looks wrong with the explanation, in words
faithfulness      numbers  metrics of how true the map is to the model: name -> value
box               floats   x0, y0, x1, y1: the part of the picture that the model saw, in its pixels
provider          text     where it ran
gradient          text     how true the gradient is
seconds           number   of running the model, a sample's part of its batch
error             text     why there is no explanation; all else is null then
""")

PAIRS = _columns("""
id                text     the sample's name
method            text     how it was explained
label             text     its class in the words of the data set
slices            groups   the groups that it is in
baseline_class    whole    the class index that the baseline predicts
model_class       whole    the class index that the model predicts
baseline_label    text     its name
model_label       text     its name
flipped           truth    whether these two differ, by name where both have names
right_before      truth    whether the baseline is right
right_after       truth    whether the model is right
probability_shift number   of the baseline's class: the model's probability minus the baseline's
score_shift       number   the same of the score
compared_class    whole    the class that both maps explain: the baseline's
spearman          number   rank correlation of the two maps
pearson           number   linear correlation of the two maps
ssim              number   structural similarity of the two maps, each scaled by its largest value
iou               number   of the 20 % of places with the highest values: common / all
peak_shift        number   distance of the two highest places, 1 is an edge of the input
emd               number   earth mover's distance of the positive parts, 1 is an edge of the input
explanation_flip  truth    the prediction stays, and the maps' rank correlation is below 0.5
note              text     why the maps are not compared
""")

MAPS = _columns("""
id                text     the sample's name
model             text     "model" or "baseline"
method            text     how it was explained
target            whole    the class that is explained
shape             shape    of the map
values            halves   the map, float16, row by row; raw, or area means where it is larger
""")


def null(columns: tuple[Column, ...], **values: Any) -> Row:
    """Return a row in which all is unknown but these values."""
    row: Row = dict.fromkeys(c.name for c in columns)
    return {**row, **values}


@cache
def schema(columns: tuple[Column, ...]) -> Any:
    """Return the schema of a Parquet file with these columns."""
    pa = needed("pyarrow", "the records of an audit")
    kinds = {
        "text": pa.string(),
        "whole": pa.int64(),
        "number": pa.float64(),
        "truth": pa.bool_(),
        "texts": pa.list_(pa.string()),
        "groups": pa.map_(pa.string(), pa.string()),
        "numbers": pa.map_(pa.string(), pa.float64()),
        "floats": pa.list_(pa.float64()),
        "shape": pa.list_(pa.int32()),
        "halves": pa.list_(pa.float16()),
    }
    fields = [pa.field(c.name, kinds[c.kind]) for c in columns]
    return pa.schema(fields, {KEY: str(VERSION).encode()})
