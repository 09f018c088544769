"""Where on the input the positions of a layer lie, followed from the input through the graph.

A crop, a pad, a flip or an unpadded convolution moves a layer's cells away from an even share of
the whole input. ``records`` says where they are, ``runs`` how one direction of space is cut, padded
and turned; ``picks``, ``windows``, ``sampling`` and ``joins`` have a rule for each operator that
does so to a ``site``, and ``walk`` goes from the input to all layers.
"""

from onnxcam.analysis.geometry.records import Area, Reach

__all__ = ["Area", "Reach"]
