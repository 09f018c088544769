"""The same with IO binding: the map stays on the device until it is wanted."""

import sys

import numpy as np
import onnxruntime as ort

device = "cuda" if "CUDAExecutionProvider" in ort.get_available_providers() else "cpu"
providers = ["CUDAExecutionProvider"] if device == "cuda" else []
session = ort.InferenceSession(sys.argv[1], providers=[*providers, "CPUExecutionProvider"])
name, *_ = (i.name for i in session.get_inputs() if not i.name.startswith("onnxcam."))
x = np.zeros((1, 3, 224, 224), np.float32)

binding = session.io_binding()
binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(x, device, 0))
target = ort.OrtValue.ortvalue_from_numpy(
    np.array([285])
)  # bind_cpu_input knows no optional inputs
binding.bind_ortvalue_input("onnxcam.target", target)
binding.bind_output("onnxcam.map", device)  # only what is bound is computed
session.run_with_iobinding(binding)
(heat,) = binding.get_outputs()
print("on", heat.device_name(), "map", heat.shape(), "peak", heat.numpy().max())
