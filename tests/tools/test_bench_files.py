"""What explaining costs for every file of a folder, and how the page says it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from bench import files, page
from bench.comparisons import Settings
from bench.timing import Ratio
from onnx import numpy_helper, parser
from support import nets

from onnxcam.model.model import load

SETTINGS = Settings(runs=3, warmup=1, clock="cpu")


def test_every_file_of_a_folder_is_measured_or_says_why_not(tmp_path: Path) -> None:
    onnx.save(nets.cnn(size=24), str(tmp_path / "a.onnx"))
    (tmp_path / "b.onnx").write_bytes(b"no model")
    (tmp_path / "c.txt").write_text("no model either")
    one, other = files.costs([tmp_path], SETTINGS)
    assert one.subject == "a.onnx" and one.ratio is not None and one.emitted
    assert one.limit is None and one.passed  # a millisecond it does not take
    assert other.subject == "b.onnx" and other.ratio is None and other.problem
    assert [c.subject for c in files.costs([tmp_path / "a.onnx"], SETTINGS)] == ["a.onnx"]


def test_open_dimensions_get_sizes_and_those_of_the_batch_one(tmp_path: Path) -> None:
    model = parser.parse_model("""<ir_version: 9, opset_import: ["": 20]>
      g (float[N,3,H,W] x, float[2,N] s) => (float[N,4] y) <float[4,3,1,1] w, float[1] z> {
      c = Conv (x, w) r = Relu (c) p = GlobalAveragePool (r) f = Flatten (p)
      t = ReduceMean <keepdims = 1> (s) u = Reshape (t, one) y = Add (f, u) }""")
    values = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, "w"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    del model.graph.value_info[:]
    path = tmp_path / "net.onnx"
    onnx.save(model, str(path))
    assert files._open(load(path)) == {"H": 224, "W": 224, "N": 1}
    (found,) = files.costs([path], SETTINGS)
    assert found.problem is None and found.ratio is not None


def test_a_file_over_its_limit_is_shown_as_one() -> None:
    over = files.FileCost("x.onnx", 2.0, Ratio(1.3, 1.2, 1.4), 1.05, 9)
    assert not over.passed
    row = {"subject": "x.onnx", "plain_ms": 2.0, "emitted": 9, "limit": 1.05, "problem": None,
           "ratio": {"median": 1.3, "low": 1.2, "high": 1.4}, "passed": False}  # fmt: skip
    small = {**row, "subject": "s.onnx", "limit": None, "passed": True}
    lost = {**row, "subject": "z.onnx", "ratio": None, "problem": "it is none"}
    text = page._files([row, small, lost])
    assert "| x.onnx | 2.00 | 1.300 (1.200 .. 1.400) | 1.05 | 9 | **no** |" in text
    assert "| s.onnx | 2.00 | 1.300 (1.200 .. 1.400) |  | 9 |  |" in text
    assert "Refused: z.onnx: it is none" in text
