"""The survey of library code, on networks of a few layers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from survey import page, work  # noqa: E402
from survey.examine import Row, examine  # noqa: E402
from survey.expert import Expert  # noqa: E402
from survey.networks import Subject, made, pictures  # noqa: E402
from survey.tape import record, relative  # noqa: E402
from tables.store import Rows  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "library_survey.py"


class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Two stages; the second returns its picture with the channels last where that is asked for."""

    def __init__(self, last: bool = False) -> None:
        super().__init__()
        nn = torch.nn
        self.one = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.norm, self.last = nn.LayerNorm(6), last
        self.head = nn.Linear(6, 5)

    def forward(self, x: Any) -> Any:
        x = self.two(self.one(x))
        x = self.norm(x.permute(0, 2, 3, 1)).mean((1, 2)) if self.last else x.mean((2, 3))
        return self.head(x)


def _subject(last: bool = False, stage: str = "two") -> Subject:
    return Subject("own", "net", lambda: Net(last), (3, 16, 24), stage)


@pytest.mark.parametrize("last", [False, True])
def test_a_file_that_is_explained_right_is_called_right(tmp_path: Path, last: bool) -> None:
    subject = _subject(last)
    (row,) = work.files_of(subject, ["script"], tmp_path, again=False, cost=False)
    assert row.verdict == "right", (row.kind, row.note)
    assert row.map < 1e-5
    assert row.input_gradient < 1e-5
    assert row.module in ("two.2", "norm")


def test_a_layer_before_the_last_stage_is_wrong(tmp_path: Path) -> None:
    (row,) = work.files_of(_subject(stage="head"), ["script"], tmp_path, again=False, cost=False)
    assert row.verdict == "WRONG"
    assert row.kind == "layers"


def test_a_file_with_other_scores_is_wrong(tmp_path: Path) -> None:
    subject = _subject()
    list(work.files_of(subject, ["script"], tmp_path, again=False, cost=False))
    path = tmp_path / "own.net.script.onnx"
    model = onnx.load(path)
    weight = next(t for t in model.graph.initializer if list(t.dims) == [5, 6])
    values = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(values[::-1].copy(), weight.name))
    onnx.save(model, path)
    net, x = made(subject), pictures(subject.shape, 1, seed=11)
    tape = record(net.double(), x.double())
    row = examine(path, tape, Expert(subject, net, tape), Row("own", "net", "script"), cost=False)
    assert (row.verdict, row.kind) == ("WRONG", "score")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    subject = _subject()
    (tmp_path / "own.net.script.onnx").write_bytes(b"no model")
    (row,) = work.files_of(subject, ["script"], tmp_path, again=False, cost=False)
    assert row.verdict == "refused"
    assert str(tmp_path) not in row.note


def test_a_network_that_cannot_be_made_is_no_fault_of_ours(tmp_path: Path) -> None:
    def build() -> Any:
        raise ValueError("no such network")

    subject = Subject("own", "none", build, (3, 8, 8), "two")
    rows = list(work.files_of(subject, ["script", "dynamo"], tmp_path, again=False, cost=False))
    assert [r.verdict for r in rows] == ["not made"] * 2
    assert "no such network" in rows[0].note


def test_the_tape_finds_a_tensor_whose_axes_are_turned() -> None:
    net = made(_subject())
    tape = record(net.double(), pictures((3, 16, 24), 1, seed=1).double())
    tape.back(tape.output[0, 2])
    feature = next(e for e in tape.entries if e.module == "two.2")
    values = feature.tensor.detach().numpy().transpose(0, 2, 3, 1)
    slope = feature.tensor.grad.numpy().transpose(0, 2, 3, 1)
    match = tape.find(values, slope)
    assert match is not None
    assert (match.entry.module, match.order, match.gradient) == ("two.2", (0, 2, 3, 1), 0.0)
    assert tape.find(values + 1) is None


def test_weights_are_not_degenerate() -> None:
    net = made(_subject(last=True))
    for name, parameter in net.named_parameters():
        assert parameter.std() > 0.01, name
    with torch.no_grad():
        scores = net(pictures((3, 16, 24), 8, seed=2))
    assert float(scores.std(0).mean()) > 0.01


def test_relative_distance() -> None:
    assert relative(np.ones(4), np.ones(4)) == 0
    assert relative(np.zeros(4), np.ones(4)) == 1
    assert relative(np.ones(3), np.ones(4)) == float("inf")
    assert relative(np.ones(2), np.zeros(2)) == 1


def test_results_keep_one_row_a_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    key = ("library", "name", "exporter")
    Rows(path, key, []).add(Row("timm", "a", "script").as_dict())
    results = Rows(path, key, [])
    results.add(Row("timm", "a", "script", verdict="refused", note="a | b").as_dict())
    results.add(Row("timm", "a", "dynamo", score=1e-7, shape=[1, 2]).as_dict())
    assert results.has("timm", "a", "dynamo")
    assert results.summary() == {"refused": 1, "right": 1}
    text = page.text_of(json.loads(path.read_text()))
    assert "2 files of 1 networks: 1 right (50.0 %), 1 refused" in text
    assert r"a \| b" in text


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, TOOL, "page", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_tool_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, TOOL, "--help"], capture_output=True, text=True, check=True
    )
    assert "library-survey" in done.stdout


def test_the_reference_behind_a_normalisation_is_the_slope() -> None:
    """Torch 2.14 takes the gradient of a BatchNorm in eval mode amiss where that is turned."""

    class Turned(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            tokens = self.norm(x).view(1, 4, 6).permute(0, 2, 1)
            weights = torch.arange(72, dtype=x.dtype).sin().reshape(1, 6, 12)
            return (torch.cat([tokens, tokens**2, tokens**3], 2) * weights).sum(1)

    net = Turned().double().eval()
    x = pictures((4, 2, 3), 1, seed=1).double()
    tape = record(net, x)
    tape.back(tape.output[0, 2] + tape.output[0, 7])
    step = 1e-6 * pictures((4, 2, 3), 1, seed=2).double()
    with torch.no_grad():
        ends = [float(net(x + s)[0, [2, 7]].sum()) for s in (step, -step)]
    assert float((tape.x.grad * step).sum()) == pytest.approx((ends[0] - ends[1]) / 2, rel=1e-6)


def test_units_at_a_kink_are_told_from_a_wrong_gradient() -> None:
    """A unit at 0 switches with any noise, and with it the gradient of all that is before it."""

    class Edge(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.two, self.head = torch.nn.Conv2d(3, 4, 1), torch.nn.Linear(4, 2, bias=False)
            self.at = -10.0

        def forward(self, x: Any) -> Any:
            return self.head((self.two(x).mean((2, 3)) - self.at).relu())

    subject = Subject("own", "edge", Edge, (3, 6, 8), "two")
    net, x = made(subject).double(), pictures(subject.shape, 1, seed=11).double()

    def rounding() -> tuple[float, ...]:
        tape = record(net, x)
        expert = Expert(subject, net, tape)
        tape.back(tape.output[0, expert.target])
        return expert.rounding(2, tape.find(tape.outputs["two"].detach().numpy()))

    assert max(rounding()) < 1e-4
    net.net.at = net.net.two(x).mean((2, 3)).detach()
    assert min(rounding()[:2]) > 0.1
