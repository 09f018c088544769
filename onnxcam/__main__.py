"""`python -m onnxcam` is `onnxcam`."""

from onnxcam.cli.start import run

run()
