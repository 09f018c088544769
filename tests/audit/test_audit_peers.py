"""What a record says of a map, against Quantus; the statement, read by in-toto's own package.

See ``tests/methods/test_methods_reference.py`` for how these are installed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.audits import colour_net, saved, squares
from support.peer_packages import quantus

from onnxcam.audit import run
from onnxcam.audit.summary import summary

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("seed", range(5))
def test_where_a_map_lies_is_as_quantus_says(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = quantus(monkeypatch)
    rng = np.random.default_rng(seed)
    maps = rng.random((6, 1, 16, 16)).astype("f4") ** 4
    masks = np.zeros((6, 1, 16, 16), bool)
    for k, mask in enumerate(masks):
        mask[0, k : k + 7, 3 : 6 + k] = True
    given = {"x_batch": maps, "y_batch": np.zeros(6, int), "a_batch": maps, "s_batch": masks}
    options = {"normalise": False, "abs": False, "disable_warnings": True}
    mine = [summary(m[0], s[0]) for m, s in zip(maps, masks, strict=True)]
    hits = peer.PointingGame(**options)(model=None, **given)
    mass = peer.RelevanceMassAccuracy(**options)(model=None, **given)
    even = peer.Complexity(**options)(model=None, **{**given, "s_batch": None})
    assert [m["pointing_hit"] for m in mine] == [bool(h) for h in hits]
    np.testing.assert_allclose([m["object_energy"] for m in mine], mass, rtol=1e-5)
    np.testing.assert_allclose([m["entropy"] * np.log(256) for m in mine], even, rtol=1e-5)


def test_in_totos_own_package_reads_the_statement(tmp_path: Path) -> None:
    pytest.importorskip("in_toto_attestation", reason="pip install -r tests/peers.txt")
    from google.protobuf import json_format
    from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
    from in_toto_attestation.v1 import statement, statement_pb2

    squares(tmp_path / "data", 6)
    saved(colour_net(), tmp_path / "net.onnx")
    made = run(tmp_path / "net.onnx", tmp_path / "data", tmp_path / "o", engine="here", trust=0)
    text = (made.folder / "statement.json").read_text()
    read = json_format.Parse(text, statement_pb2.Statement())
    statement.Statement.copy_from_pb(read).validate()
    said = json.dumps(json.loads(text)["predicate"])
    result = json_format.Parse(said, test_result_pb2.TestResult())
    assert result.result == "WARNED"
