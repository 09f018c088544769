"""The report: one page that opens from disk."""

from onnxcam.audit.page.report import write_report

__all__ = ["write_report"]
