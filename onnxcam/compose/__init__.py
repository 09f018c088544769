"""Model + method + target -> one graph that predicts and explains.

``graph`` writes what a ``wish`` asks for, from the ``quantities`` that methods need, made at
``places`` with known axes; it brings the maps to the input's size (``resample``) and draws them on
it (``overlay``). ``gradients`` returns gradients as they are.
"""

from onnxcam.compose.gradients import Gradients, gradient_graph
from onnxcam.compose.graph import Explained, default_feature, explain_graph
from onnxcam.compose.overlay import Drawing
from onnxcam.compose.wish import Wish

__all__ = [
    "Drawing",
    "Explained",
    "Gradients",
    "Wish",
    "default_feature",
    "explain_graph",
    "gradient_graph",
]
