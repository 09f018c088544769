"""What was put right on load, held against the file as it was: both are run, once a file."""

from __future__ import annotations

from onnxcam.errors import InputError, ModelError
from onnxcam.model.model import Model
from onnxcam.run.agreement import farthest
from onnxcam.run.cache import Store, key_of
from onnxcam.run.samples import Array, sample_feeds
from onnxcam.run.session import Session

_MOST = 1e-3  # of the largest value: other kernels may round half and whole numbers otherwise
_HELD = b"held"


def held(model: Model, kept: Store | None, *, check: bool = True) -> Model:
    """Return a model that computes what its file does, as far as random inputs tell.

    Most models are what their file says, node by node; only those with a ``before`` are run.

    Args:
        model: A loaded model.
        kept: Where it is kept that a model was held against its file; None for nowhere.
        check: False for a caller who wants nothing run.

    Raises:
        ModelError: It computes something else.
    """
    if model.before is None or not check:
        return model
    key = None if kept is None else f"{key_of(model, ['held'])}.held"
    if kept is not None and key is not None and kept.get(key) == _HELD:
        return model
    apart = max(_apart(model, model.before, sample_feeds(model, seed=seed)) for seed in (0, 1))
    if apart > _MOST:
        done = "; ".join(model.notes)
        raise ModelError(
            f"what was put right on load computes something else: the outputs differ by "
            f"{apart:.2g} of the largest value ({done})",
            "take the file that this one was made of, and please report the exporter",
        )
    if kept is not None and key is not None:
        kept.put(key, _HELD)
    return model


def _apart(model: Model, before: Model, feeds: dict[str, Array]) -> float:
    """Return how far the outputs are apart; 0 where the file does not run: nothing tells."""
    names = [p.name for p in model.outputs]
    try:
        wanted = Session(before, device="cpu", optimise=False).run(feeds, names)
    except (ModelError, InputError):
        return 0.0
    got = Session(model, device="cpu", optimise=False).run(feeds, names)
    return farthest(got, wanted)
