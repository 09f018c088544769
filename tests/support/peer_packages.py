"""pytorch-grad-cam, Captum, zennit, lxt and others, where tests/peers.txt is installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest

# What they import at their start, for what is not asked of them here.
_TORCHVISION = {
    "torchvision": (),
    "torchvision.models": (),
    "torchvision.models.resnet": ("BasicBlock", "Bottleneck"),
    "torchvision.transforms": ("Compose", "Normalize", "ToTensor"),
    "torchvision.transforms.functional": ("resize",),
}


def pytorch_grad_cam(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import it, with a stand-in for torchvision; the test skips where it is missing."""
    return _without_torchvision("pytorch_grad_cam", monkeypatch)


def zennit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import it, with a stand-in for torchvision; the test skips where it is missing."""
    return _without_torchvision("zennit", monkeypatch)


def zennit_crp(part: str) -> Any:
    """Import ``crp.<part>``, behind :func:`zennit`; the test skips where it is missing."""
    _import("crp")
    return importlib.import_module(f"crp.{part}")


def quantus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import it, with a stand-in for torchvision; the test skips where it is missing."""
    return _without_torchvision("quantus", monkeypatch)


def _without_torchvision(package: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    if package not in sys.modules:
        for name, contents in _TORCHVISION.items():
            module = ModuleType(name)
            for each in contents:
                setattr(module, each, type(each, (), {}))
            monkeypatch.setitem(sys.modules, name, module)
    return _import(package)


def captum_attr() -> Any:
    """Import ``captum.attr``; the test skips where it is missing."""
    _import("captum")
    return importlib.import_module("captum.attr")


def lxt(monkeypatch: pytest.MonkeyPatch, part: str) -> Any:
    """Import ``lxt.<part>``; the test skips where it is missing.

    ``lxt.efficient`` imports transformers for the networks that it patches; its rules and patches
    by themselves need torch alone.
    """
    package = _import("lxt")
    if part.startswith("efficient.") and "lxt.efficient" not in sys.modules:
        bare = ModuleType("lxt.efficient")
        bare.__path__ = [f"{package.__path__[0]}/efficient"]
        monkeypatch.setitem(sys.modules, "lxt.efficient", bare)
    return importlib.import_module(f"lxt.{part}")


def _import(name: str) -> Any:
    """Skip where it is missing; fail where it is there and what it needs is not."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not there: pip install --no-deps -r tests/peers.txt")
    return importlib.import_module(name)
