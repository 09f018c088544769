"""The table of other tools' names: every name here is there, and nothing of theirs is left out."""

from __future__ import annotations

import importlib
import re

import pytest
from peers import named, page, table
from support.peer_packages import captum_attr, pytorch_grad_cam, zennit

from onnxcam import methods, metrics, targets
from onnxcam.cli import main
from onnxcam.methods.tunnel import TUNNEL

PARAMETERS = {TUNNEL.name, *(p.name for n in methods.names() for p in methods.find(n).parameters)}
THERE = {
    "method": methods.names(),
    "metric": metrics.names(),
    "target": targets.__all__,
    "parameter": PARAMETERS,
    "command": main.commands,
}
ROWS = [(tool, theirs, ours) for tool, rows in table().items() for theirs, ours in rows.items()]


@pytest.mark.parametrize(("tool", "theirs", "ours"), ROWS)
def test_what_it_is_called_here_is_there(tool: str, theirs: str, ours: str) -> None:
    for kind, name in named(ours):
        if kind == "call":
            module, _, attribute = name.rpartition(".")
            assert callable(getattr(importlib.import_module(module), attribute))
        else:
            assert name in THERE[kind], (tool, theirs)
    assert named(ours) or len(ours) > 12, "a reason"


def test_the_issue_names_these_tools() -> None:
    said = " ".join(table())
    for name in (
        "MATLAB pytorch-grad-cam Captum zennit lxt zennit-crp torchcam xplique saliency rex-xai "
        "OpenVINO-XAI DIANNA Quantus"
    ).split():
        assert name in said
    assert page().count("\n| ") == len(ROWS) + len(table())


def test_every_method_but_a_few_is_somewhere() -> None:
    """What no other tool has is ours alone, and is named here."""
    ours = {name for _, _, value in ROWS for kind, name in named(value) if kind == "method"}
    assert set(methods.names()) - ours == {"lrp-w2", "deeplift-reveal-cancel"}


def _listed(tool: str) -> set[str]:
    rows = next(rows for name, rows in table().items() if name.startswith(tool))
    return set(re.findall(r"\w+", " ".join(rows)))


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_nothing_of_theirs_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(captum_attr().__all__) <= _listed("Captum")
    package = pytorch_grad_cam(monkeypatch)
    made = {n for n, v in vars(package).items() if isinstance(v, type) or n.startswith("run_")}
    assert made <= _listed("pytorch-grad-cam")
    zennit(monkeypatch)
    listed = _listed("zennit 0")
    for part in ("attribution", "composites", "rules"):
        module = importlib.import_module(f"zennit.{part}")
        own = {
            n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
        }
        classes = {n for n in own if isinstance(getattr(module, n), type) and not n.endswith("Mod")}
        assert classes - {"Attributor"} <= listed
