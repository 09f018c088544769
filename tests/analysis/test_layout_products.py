"""Axes are products of atoms: a reshape regroups them, and what was cut is whole again later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

from onnxcam.analysis.layout import Layout, layouts
from onnxcam.analysis.layout.meaning import Meaning, plain
from onnxcam.model.draft import Draft
from onnxcam.model.model import load


def _shape(text: str) -> list[Any]:
    return [int(d) if d.isdigit() else d for d in text.split()]


def _through(letters: str, shape: str, steps: list[str]) -> Layout:
    """Follow reshapes ("b 4 4") and transposes ("perm 0 2 1") from a tensor of this shape."""
    dims = _shape(shape)
    meaning: Meaning = plain(letters, dims)
    for step in steps:
        if step.startswith("perm"):
            perm = [int(i) for i in step.split()[1:]]
            meaning, dims = meaning.picked(perm), [dims[i] for i in perm]
        else:
            meaning = meaning.reshaped(dims, _shape(step)).fitted(_shape(step))
            dims = _shape(step)
    return meaning.read()


WINDOWS = ["b 3 4 5 4 6", "perm 0 1 3 2 4 5"]


@pytest.mark.parametrize(
    ("letters", "shape", "steps", "axes", "grid"),
    [
        # windows: in axes of their own, beside the batch, and back
        ("NHWC", "b 12 20 6", WINDOWS, "NHWhwC", ()),
        ("NHWC", "b 12 20 6", [*WINDOWS, "u 16 6"], "??C", ()),
        ("NHWC", "b 12 20 6", [*WINDOWS, "u 16 6", "v 3 5 4 4 6"], "NHWhwC", ()),
        (
            "NHWC", "b 12 20 6",
            [*WINDOWS, "u 16 6", "v 3 5 4 4 6", "perm 0 1 3 2 4 5", "v 12 20 6"], "NHWC", (),
        ),
        (
            "NHWC", "1 12 20 6",
            ["1 3 4 5 4 6", "perm 0 1 3 2 4 5", "15 16 6", "1 3 5 4 4 6", "perm 0 1 3 2 4 5",
             "1 240 6"], "NTC", ("12", "20"),
        ),
        # a grid of windows, dilated: what was the offset is now the slow part
        ("NHWC", "b 12 20 6", ["b 3 4 5 4 6", "perm 0 2 4 1 3 5", "u 3 5 6"], "?HWC", ()),
        # the wrong way back mixes positions
        (
            "NHWC", "b 12 20 6", [*WINDOWS, "b 3 5 16 6", "b 12 20 6"], "N??C", (),
        ),
        # merged patches
        ("NHWC", "b 4 6 5", ["b 2 2 3 2 5", "perm 0 1 3 4 2 5", "b 2 3 20"], "NHWC", ()),
        ("NCHW", "b 5 4 6", ["b 5 2 2 3 2", "perm 0 3 5 1 2 4", "b 20 2 3"], "NCHW", ()),
        # heads, also those beside the batch
        ("NTC", "b 7 12", ["b 7 3 4", "perm 0 2 1 3"], "N???", ()),
        ("NWC", "b 7 12", ["b 7 3 4", "perm 0 2 1 3", "b 3 7 4", "perm 0 2 1 3", "b 7 12"],
         "NWC", ()),
        ("NWC", "b 7 12", ["b 7 3 4", "perm 0 2 1 3", "u 7 4", "v 3 7 4", "perm 0 2 1 3", "v 7 12"],
         "NWC", ()),
        # groups of channels with all of space, as torch writes a group normalisation
        ("NCHW", "b 6 4 5", ["b 2 60"], "N??", ()),
        ("NCHW", "b 6 4 5", ["b 2 60", "b 6 4 5"], "NCHW", ()),
        # shuffled channels are channels
        ("NCHW", "b 6 4 5", ["b 2 3 4 5", "perm 0 2 1 3 4", "b 6 4 5"], "NCHW", ()),
        # part of the channels below positions makes finer ones: what follows has to say it
        ("NCHW", "b 8 4 5", ["b 2 2 2 4 5", "perm 0 1 4 2 5 3", "b 2 8 10"], "NC??", ()),
        # tokens, and frames beside the batch
        ("NCHW", "b 6 4 5", ["b 6 20", "perm 0 2 1"], "NTC", ("4", "5")),
        ("NCHW", "b 6 h w", ["b 6 u", "b 6 h2 w2"], "NCHW", ()),
        ("NCDHW", "b 6 3 4 5", ["perm 0 2 1 3 4", "u 6 4 5"], "?CHW", ()),
        ("NCDHW", "b 6 3 4 5", ["perm 0 2 1 3 4", "u 6 20", "v 3 6 20"], "NDC?", ()),
    ],
)  # fmt: skip
def test_reshapes_regroup(
    letters: str, shape: str, steps: list[str], axes: str, grid: tuple[str, ...]
) -> None:
    found = _through(letters.replace("T", "?"), shape, steps)
    assert found.axes == axes
    assert tuple(map(str, found.grid)) == grid


def test_digits_below_one_that_is_gone_say_nothing() -> None:
    cut = plain("NHWC", ["b", 12, 4, 6]).reshaped(["b", 12, 4, 6], ["b", 3, 4, 4, 6])
    assert cut.read().axes == "NHhWC"
    assert cut.picked([0, 1, 3, 4]).read().axes == "NHWC"  # one position of every window
    assert cut.picked([0, 2, 3, 4]).read().axes == "N?WC"  # every window's place in one


def _found(nodes: list[Any], shape: list[Any], y: list[Any], weights: dict[str, Any]) -> Any:
    draft = Draft(load(nets.model(nodes, {"x": shape}, {"y": y}, weights)))
    known, tensors = layouts(draft.graph), draft.graph.tensors()
    return lambda name: known.get(id(tensors[name]))


CONV = {"k": np.ones((3, 3, 1, 1), "f4")}


@pytest.mark.parametrize("back", [True, False])
def test_a_roll_moves_positions_until_it_is_undone(back: bool) -> None:
    def roll(x: str, y: str, start: str) -> list[Any]:
        return [
            helper.make_node("Slice", [x, start, "far", "two"], [f"{y}1"]),
            helper.make_node("Slice", [x, "zero", start, "two"], [f"{y}2"]),
            helper.make_node("Concat", [f"{y}1", f"{y}2"], [y], axis=2),
        ]

    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        *roll("c", "there", "one"),
        helper.make_node("Relu", ["there"], ["r"]),
        *roll("r", "y", "last" if back else "one"),
    ]
    weights = {
        **CONV, "zero": np.array([0]), "one": np.array([1]), "last": np.array([-1]),
        "two": np.array([2]), "far": np.array([2**40]),
    }  # fmt: skip
    found = _found(nodes, [2, 3, 8, 6], [2, 3, 8, 6], weights)
    assert found("c") == Layout("NCHW")
    assert found("there") == found("r") == Layout("NCHW", rolled=True)
    assert found("y") == Layout("NCHW", rolled=not back)


@pytest.mark.parametrize(
    ("node", "axes"),
    [
        (helper.make_node("Sin", ["c"], ["y"]), "NCHW"),
        (helper.make_node("Tan", ["c"], ["y"]), "NCHW"),
        (helper.make_node("Slice", ["c", "last", "least", "two", "last"], ["y"]), "NCHW"),
        (helper.make_node("Slice", ["c", "zero", "far", "two", "two"], ["y"]), "NCHW"),
        (helper.make_node("TopK", ["c", "one"], ["y", "i"], axis=2), "NC?W"),
        (helper.make_node("CumSum", ["c", "axis"], ["y"]), "NCHW"),
        (helper.make_node("Expand", ["c", "shape"], ["y"]), "NCHW"),
    ],
)
def test_operators_that_move_along_an_axis(node: Any, axes: str) -> None:
    nodes = [helper.make_node("Conv", ["x", "k"], ["c"]), node]
    weights = {
        **CONV, "zero": np.array([0]), "one": np.array([1]), "last": np.array([-1]),
        "two": np.array([2]), "far": np.array([2**40]), "least": np.array([-(2**40)]),
        "axis": np.array(2), "shape": np.array([2, 3, 8, 6]),
    }  # fmt: skip
    rows = {"TopK": 1, "Slice": 4 if node.input[-1:] == ["two"] else 8}.get(node.op_type, 8)
    assert _found(nodes, [2, 3, 8, 6], [2, 3, rows, 6], weights)("y").axes == axes


def test_a_convolution_over_tokens_does_not_make_positions_of_channels() -> None:
    """A mixer's Conv over [N, tokens, channels] takes tokens for its channels."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        helper.make_node("Reshape", ["c", "flat"], ["f"]),
        helper.make_node("Transpose", ["f"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["tokens", "mix"], ["mixed"]),
        helper.make_node("Add", ["mixed", "tokens"], ["y"]),
    ]
    weights = {**CONV, "flat": np.array([0, 3, 12]), "mix": np.ones((12, 12, 1), "f4")}
    found = _found(nodes, [2, 3, 4, 3], [2, 12, 3], weights)
    assert found("tokens") == found("y") == found("mixed") == Layout("NTC", (4, 3))


def test_windows_joined_with_part_of_the_channels_leave_nothing_behind() -> None:
    """Where windows are lost the places in them are no positions."""
    dims = ["b", 12, 4, 6]
    cut = plain("NHWC", dims).reshaped(dims, ["b", 3, 4, 4, 2, 3]).picked([0, 2, 3, 1, 5, 4])
    joined = cut.reshaped(["b", 4, 4, 3, 3, 2], ["b", 4, 4, 9, 2])
    assert joined.read().axes == "N?W?C"


def test_a_shuffle_of_pixels_is_followed_by_its_convolution() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "wide"], ["c"]),
        helper.make_node("Reshape", ["c", "cut"], ["parts"]),
        helper.make_node("Transpose", ["parts"], ["turned"], perm=[0, 1, 4, 2, 5, 3]),
        helper.make_node("Reshape", ["turned", "joined"], ["shuffled"]),
        helper.make_node("Relu", ["shuffled"], ["r"]),
        helper.make_node("Conv", ["r", "k"], ["y"]),
    ]
    weights = {
        **CONV, "wide": np.ones((12, 3, 1, 1), "f4"),
        "cut": np.array([0, 3, 2, 2, 4, 5]), "joined": np.array([0, 3, 8, 10]),
    }  # fmt: skip
    found = _found(nodes, [2, 3, 4, 5], [2, 3, 8, 10], weights)
    assert found("shuffled") == found("r") == found("y") == Layout("NCHW")
    assert found("parts").axes == "N???HW"


def _cut(size: int, rng: np.random.Generator) -> list[int]:
    """A random factorisation of an extent."""
    divisors = [d for d in range(2, size) if size % d == 0]
    if not divisors or rng.random() < 0.4:
        return [size]
    d = int(rng.choice(divisors))
    return [d, *_cut(size // d, rng)]


def _regrouped(shape: list[int], rng: np.random.Generator) -> list[int]:
    """A random other shape of as many elements: axes cut, and neighbours joined."""
    parts = [d for size in shape for d in _cut(size, rng)]
    joined = [parts[0]]
    for d in parts[1:]:
        joined = [*joined[:-1], joined[-1] * d] if rng.random() < 0.35 else [*joined, d]
    return joined


@pytest.mark.parametrize("seed", range(40))
def test_positions_are_where_their_letters_say(seed: int) -> None:
    """Along an axis that is called H the rows come one after the other, whatever happened."""
    rng = np.random.default_rng(seed)
    for letters in ("NCHW", "NHWC"):
        shape = [{"N": 2, "C": 6, "H": 4, "W": 12}[c] for c in letters]
        places = dict(zip(letters, np.indices(shape), strict=True))
        meaning = plain(letters, shape)
        for _ in range(6):
            perm = [int(i) for i in rng.permutation(len(shape))] if rng.random() < 0.5 else None
            if perm is not None:
                places = {c: p.transpose(perm) for c, p in places.items()}
                meaning = meaning.picked(perm)
            else:
                new = _regrouped(shape, rng)
                places = {c: p.reshape(new) for c, p in places.items()}
                meaning = meaning.reshaped(shape, new).fitted(new)
            shape = list(places["N"].shape)
            _holds(meaning.read(), {**places, "T": places["H"] * 12 + places["W"]})


def _holds(layout: Layout, places: dict[str, Any]) -> None:
    for axis, letter in enumerate(layout.axes):
        if letter in ("N", "H", "W", "T"):
            others = tuple(i for i in range(len(layout.axes)) if i != axis)
            low, high = places[letter].min(others), places[letter].max(others)
            assert (high[:-1] < low[1:]).all(), (letter, layout)
