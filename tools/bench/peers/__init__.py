"""Other tools beside onnxcam, each in a Python environment of its own."""
