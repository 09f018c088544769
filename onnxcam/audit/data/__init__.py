"""Data sets -> a stream of samples: what each is called, where it lies, what is known of it."""

from onnxcam.audit.data.loading import Loaded, load_sample
from onnxcam.audit.data.opening import Listing, Selection, open_data
from onnxcam.audit.data.sample import Sample

__all__ = ["Listing", "Loaded", "Sample", "Selection", "load_sample", "open_data"]
