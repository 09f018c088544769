"""The deployment audit: a data set through one model, or an old and a new one, with evidence.

Its results are for people who were not there::

    from onnxcam import audit

    made = audit.run("int8.onnx", "photos/", "out/", baseline="float.onnx")
    made.verdict.result      # "pass", "fail" or "not enough data"
    audit.verify("out/")     # hashes, records and verdict, checked again
    audit.diff("old.onnx", "new.onnx", ["a.jpg", "b.jpg"]).lines
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxcam.audit.auditing import Audit, run
    from onnxcam.audit.check import Checked, verify
    from onnxcam.audit.differing import Difference, diff
    from onnxcam.audit.drifting import Drift, drift
    from onnxcam.audit.page.report import write_report as report

__all__ = ["Audit", "Checked", "Difference", "Drift", "diff", "drift", "report", "run", "verify"]

_HOMES = {
    "Audit": ("auditing", "Audit"),
    "run": ("auditing", "run"),
    "Checked": ("check", "Checked"),
    "verify": ("check", "verify"),
    "Difference": ("differing", "Difference"),
    "diff": ("differing", "diff"),
    "Drift": ("drifting", "Drift"),
    "drift": ("drifting", "drift"),
    "report": ("page.report", "write_report"),
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the public names when they are first used: each needs other packages."""
        if name not in _HOMES:
            raise AttributeError(f"module 'onnxcam.audit' has no attribute {name!r}")
        module, attribute = _HOMES[name]
        return getattr(import_module(f"onnxcam.audit.{module}"), attribute)
