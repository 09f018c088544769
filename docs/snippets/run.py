"""Predict and explain with plain ONNX Runtime (python run.py explained.onnx)."""

import sys

import numpy as np
import onnxruntime as ort

session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
name, *_ = (i.name for i in session.get_inputs() if not i.name.startswith("onnxcam."))
x = np.zeros((1, 3, 224, 224), np.float32)  # your picture, prepared

scores, heat, which = session.run(
    [session.get_outputs()[0].name, "onnxcam.map", "onnxcam.class"], {name: x}
)
print("class", which[0, 0], "score", scores[0, which[0, 0]], "map", heat.shape)

# another class, from the same file
(other,) = session.run(["onnxcam.map"], {name: x, "onnxcam.target": np.array([285])})
print("class 285, map", other.shape)
