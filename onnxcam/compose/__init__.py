"""Model + plan -> one graph that predicts and explains.

``plan`` resolves what is wanted; ``graph`` writes it, from the ``slopes`` that all maps share and
the ``quantities`` that each method needs, made at ``places`` with known axes; it brings the maps to
the input's size (``resample``) and draws them on it (``overlay``). ``gradients`` returns gradients
as they are.
"""

from onnxcam.compose.gradients import Gradients, gradient_graph
from onnxcam.compose.graph import Explained, explain_graph, plan_graph
from onnxcam.compose.overlay import Drawing
from onnxcam.compose.plan import MapPlan, Plan, default_feature, maps_of, outputs_named
from onnxcam.compose.wishes import Wishes

__all__ = [
    "Drawing",
    "Explained",
    "Gradients",
    "MapPlan",
    "Plan",
    "Wishes",
    "default_feature",
    "explain_graph",
    "gradient_graph",
    "maps_of",
    "outputs_named",
    "plan_graph",
]
