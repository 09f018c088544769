"""How good an explanation is, in numbers: one file a metric, found by its decorator.

``get(name)`` is the record of a metric: its kind, what it needs, which numbers are good. One way
to call them all::

    from onnxcam import Explainer, metrics

    explain = Explainer("model.onnx")
    found = explain("cat.jpg")
    metrics.measure("deletion", found, predict=explain.predict)  # faithfulness: the model answers
    metrics.measure("energy", found, mask=mask)                  # localisation: a person answers
    metrics.measure("entropy", found.map)                        # complexity: the map alone
    metrics.measure("deletion", map, predict=predict, tensor=x, target=3)  # anybody's arrays
    metrics.table({"gradcam": found}, metrics.Evidence(explain.predict))   # beside baselines

``predict`` takes inputs [N, ...] and returns scores [N, C], best probabilities; ``mask`` is bool
of the map's shape; ``explain`` makes the map of another input; each metric's record says which of
these it ``needs``. A metric gives a float for one explanation: nan where it is not defined. The
kinds (:data:`KINDS`) are never mixed into one number.
"""

from onnxcam.metrics.agreement import rank_agreement
from onnxcam.metrics.baselines import BASELINES
from onnxcam.metrics.comparison import Comparison, compare
from onnxcam.metrics.measures import Evidence, measure, table
from onnxcam.metrics.randomisation import maps_of_randomised, randomised
from onnxcam.metrics.registry import KINDS, Metric, find, metric, names
from onnxcam.metrics.sample import Explained, Sample, sample

get = find

__all__ = [
    "BASELINES",
    "KINDS",
    "Comparison",
    "Evidence",
    "Explained",
    "Metric",
    "Sample",
    "compare",
    "find",
    "get",
    "maps_of_randomised",
    "measure",
    "metric",
    "names",
    "randomised",
    "rank_agreement",
    "sample",
    "table",
]
