"""The catalog of layers: every tensor that could be explained, and why it can or cannot be.

It also chooses the defaults: the *reduction layer*, whose scalar score is differentiated, and the
*feature layer*, whose channels make the map. Every choice carries its reason.
"""

from onnxcam.analysis.layers.candidates import catalog
from onnxcam.analysis.layers.formats import asked
from onnxcam.analysis.layers.records import Asked, Candidate, Catalog, Reduction

__all__ = ["Asked", "Candidate", "Catalog", "Reduction", "asked", "catalog"]
