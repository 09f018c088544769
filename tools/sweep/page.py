"""docs/sweep.md: one table a model, what does not beat chance marked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sweep.store import METRICS, Store

BASELINES = ("centre", "random", "edges")
HIGHER = {"pointing-game": True, "energy": True, "deletion": False, "insertion": True}
Row: TypeAlias = "dict[str, list[float | None]]"  # of each picture the numbers, and the seconds

_HEAD = """# Every method against photographs with boxes

Written by `tools/sweep.py`. Each method explains the class that the model sees, by few runs
(`FEW` in the tool): the table is to tell broken from sound, not to rank what is close.
**Localisation** (pointing game, energy) asks whether the map lies in the box that a person drew;
**faithfulness** (deletion, insertion) whether the model's probability follows the map. The two are
not mixed: a model that looks beside the object has faithful maps outside of its box. Beside them
stand maps that know nothing of the model: a bell in the middle of the picture, noise, edges.

n is the number of pictures, the first ones of the same order for every row; behind a mean of two
or more stands 1.96 standard errors. `-` marks a number that is no better than that of noise;
*better* says in how many of the four a method beats the bell, noise and edges on the same pictures.
A method with three `-`, or one that noise beats in both kinds, is **bold**: it is broken, or not
made for the model. A map whose values are all above 0 (RISE, Kernel-SHAP) is measured above its
smallest one. Seconds are the processor's for one map, on one thread.

How to read it: deletion rewards what breaks the picture (fine, scattered maps; even edges do well),
so coarse maps lose there to noise while insertion and the box favour them. Methods on the input's
gradient (guided backpropagation, deconvnet, saliency) do not claim to find the object, and on a
convolutional network LibraGrad and AttnLRP are such: without attention and gates they are input
times gradient but for what saturates. What they are for is the transformer, where they beat all
three baselines. Grad-CAM is the other way round: on tokens the mean of the gradient over the
positions is what is left of values that cancel, and element-wise Grad-CAM, HiResCAM and Layer-CAM,
which do not average, see more. `internal-influence` is a mean gradient: where a mean over space and
a linear layer follow the layer (MobileNetV2, SqueezeNet), that is the same at all positions, the
map is constant (the picture says so), and only an earlier layer is worth asking. CRP of MobileNetV2
has values near 1e-9: the z-plus rule gives a positive bias its share at each of 52 layers: of a
score of 18.8 (`layer-lrp`, chelsea.png) 3.4 are left three layers down, 0.43 at the twelfth block,
0.03 at the third, 0.001 at the first convolution (SqueezeNet: 31.7 of 32.0); one channel has a
thirtieth of that, over 50,176 pixels. RISE's values are probabilities, of which only the ranking
means something: its energy depends on the floor that is taken off. Rows of one to four pictures
tell broken from sound and no more. `digits-vit` is a small transformer that the tool trains for
minutes to find a digit in clutter; it is asked only about pictures whose digit it sees.
"""


def write(results: Path, place: Path, *, check: bool) -> int:
    """Write the page, or compare; returns the exit code."""
    kept = Store(results).kept
    text = "\n".join([_HEAD, *(line for model in kept for line in _model(model, kept[model]))])
    text = text.rstrip() + "\n"
    if not check:
        place.write_text(text)
        return 0
    return int(not place.exists() or place.read_text() != text)


def _model(model: str, rows: dict[str, Any]) -> Iterator[str]:
    yield f"## {model}\n"
    titles = ("method", "n", "pointing game", "energy", "deletion (lower)", "insertion", "better",
              "seconds")  # fmt: skip
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    sound = {name: row for name, row in rows.items() if row and "error" not in row}
    baselines = {name: sound[name] for name in BASELINES if name in sound}
    for name in sorted(sound, key=lambda n: (n in BASELINES, n)):
        yield _row(name, sound[name], baselines)
    refused = {name: row["error"] for name, row in sorted(rows.items()) if "error" in row}
    if refused:
        yield "\nNot for this model:\n"
        yield from (f"- `{name}`: {why}" for name, why in refused.items())
    yield ""


def _row(name: str, row: Row, baselines: dict[str, Row]) -> str:
    beaten = {b: [m for m in METRICS if _beats(row, rival, m)] for b, rival in baselines.items()}
    own = name in BASELINES
    worse = [m for m in METRICS if not own and m not in beaten["random"]]
    cells = [f"{_number(row, m)}{' -' if m in worse else ''}" for m in METRICS]
    localised = {"pointing-game", "energy"} <= set(worse)
    faithful = {"deletion", "insertion"} <= set(worse)
    bad = len(worse) >= 3 or (localised and faithful)
    shown = f"*{name}*" if own else f"**`{name}`**" if bad else f"`{name}`"
    better = "" if own else " ".join(f"{len(found)}/{len(METRICS)}" for found in beaten.values())
    seconds = np.mean([numbers[-1] for numbers in row.values()])
    return f"| {shown} | {len(row)} | {' | '.join(cells)} | {better} | {seconds:.2f} |"


def _values(row: Row, metric: str) -> dict[str, float]:
    found = {picture: numbers[METRICS.index(metric)] for picture, numbers in row.items()}
    return {picture: value for picture, value in found.items() if value is not None}


def _beats(row: Row, rival: Row, metric: str) -> bool:
    """Tell whether the mean over the pictures that both have is better than a rival's."""
    own, other = _values(row, metric), _values(rival, metric)
    both = [picture for picture in own if picture in other]
    gain = sum(own[picture] - other[picture] for picture in both)
    return gain > 0 if HIGHER[metric] else gain < 0


def _number(row: Row, metric: str) -> str:
    values = [*_values(row, metric).values()]
    if not values:
        return "none"
    mean, count = np.mean(values), len(values)
    if count < 2:
        return f"{mean:.3f}"
    return f"{mean:.3f} ± {1.96 * np.std(values, ddof=1) / count**0.5:.2f}"
