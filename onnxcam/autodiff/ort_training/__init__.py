"""The second gradient builder: onnxruntime-training, its nodes lowered to standard ones."""
