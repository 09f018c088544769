"""What Python takes and shows: tensors, notebooks, another method, threads."""

from __future__ import annotations

import gc
import io
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import nets

import onnxcam
from onnxcam import Explainer, Explanation
from onnxcam.errors import InputError, OnnxcamError, UsageError
from onnxcam.output.panel import panel, save_panel
from onnxcam.run import runner

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
X = RNG.standard_normal((1, 3, 6, 6)).astype("f4")


def _explainer(**options: Any) -> Explainer[Explanation]:
    return Explainer(nets.cnn(channels=3), device="cpu", preprocess="unit", threads=1, **options)


class _Array:
    """An array of a library that nobody knows."""

    def __init__(self, values: np.ndarray, *, fails: bool = False) -> None:
        self.values, self.fails = values, fails

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        if self.fails:
            raise RuntimeError("on another device")
        return self.values


class _Capsule:
    """One that speaks only DLPack."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __dlpack__(self, **how: Any) -> Any:
        return self.values.__dlpack__(**how)

    def __dlpack_device__(self) -> Any:
        return self.values.__dlpack_device__()


def test_arrays_of_other_libraries_are_taken() -> None:
    torch = pytest.importorskip("torch")
    explain = _explainer()
    want = explain(X).map
    for x in (torch.from_numpy(X), torch.from_numpy(X).requires_grad_(), _Array(X), _Capsule(X)):
        np.testing.assert_array_equal(explain(x).map, want)  # type: ignore[call-overload]
    with pytest.raises(InputError, match="_Array cannot be had as an array: on another device"):
        explain(_Array(X, fails=True))  # type: ignore[call-overload]


def test_pictures_come_as_files_bytes_images_and_arrays(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    explain = _explainer()
    found = [
        explain(each)  # type: ignore[call-overload]
        for each in (tmp_path / "a.png", str(tmp_path / "a.png"), data, PICTURE,
                     Image.fromarray(PICTURE))
    ]  # fmt: skip
    for e in found:
        np.testing.assert_array_equal(e.map, found[0].map)
    with pytest.raises(InputError):
        explain(b"no picture")  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, np.asarray])
def test_a_class_is_any_whole_number(kind: Any) -> None:
    e = _explainer()(X, target=kind(2))
    assert e.target == 2 and isinstance(e.target, int)


def test_a_batch_of_arrays_gives_a_list() -> None:
    found = _explainer()(np.concatenate([X, X + 1]))
    assert isinstance(found, list) and len(found) == 2


def test_one_explainer_explains_by_any_method() -> None:
    explain = _explainer()
    for name in ("layercam", "saliency", "rise", "GradCAM"):
        e = explain(X, method=name)
        np.testing.assert_allclose(e.map, _explainer(method=name)(X).map, rtol=1e-6)
        assert e.method == name.lower()
    assert explain(X).method == "gradcam"
    with pytest.raises(UsageError, match="did you mean 'layercam'"):
        explain(X, method="layercan")
    named = Explainer(nets.cnn(channels=3), ["gradcam", "cam"], device="cpu")
    assert list(named(X, method="hirescam")) == ["hirescam"]


def test_a_layer_that_was_named_is_that_of_other_methods_too() -> None:
    explain = _explainer(feature_layer="conv")
    assert explain(X, method="layercam").feature_layer == "conv"
    assert explain(X, method="saliency").feature_layer == "x"


def test_explanations_show_themselves() -> None:
    e = _explainer(labels=["<b>cat", "dog", "bird"])(PICTURE, target=0)
    png = e._repr_png_()
    assert png is not None and Image.open(io.BytesIO(png)).width > 200
    page = e._repr_html_()
    assert "data:image/png" in page and "gradcam at relu" in page and "diagnosis" in page
    assert "<b>cat" not in page and "&lt;b&gt;cat" in page
    explain = _explainer()
    assert "relu" in explain._repr_html_() and "relu" in explain.catalog._repr_html_()


def test_what_cannot_be_drawn_shows_its_facts() -> None:
    e = Explainer(nets.cnn(channels=2), device="cpu")(
        RNG.standard_normal((1, 2, 6, 6)).astype("f4")
    )
    flat = Explanation(**{**e.__dict__, "layout": None, "tensor": e.tensor.ravel()})
    assert flat._repr_png_() is None
    assert "none: the input is no picture" in flat._repr_html_()


def test_matplotlib_draws_on_its_axes() -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, ax = pyplot.subplots()
    e = _explainer()(PICTURE)
    assert e.plot(ax=ax) is ax
    assert ax.images and ax.get_title() == e.title
    np.testing.assert_array_equal(np.asarray(ax.images[0].get_array()), e.image())
    pyplot.close(figure)


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    e = _explainer()(PICTURE)
    for module, call in (("matplotlib", e.plot), ("xarray", e.to_xarray)):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(OnnxcamError, match=rf"{module} is not installed.*onnxcam\[notebook\]"):
            call()


def test_maps_become_arrays_with_names() -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    e = _explainer()(PICTURE)
    array = e.to_xarray()
    assert array.dims == ("y", "x") and array.attrs["method"] == "gradcam"


def test_a_panel_takes_whatever_explainers_return(tmp_path: Path) -> None:
    several = Explainer(nets.cnn(channels=3), ["gradcam", "saliency"], preprocess="unit")
    found = several(PICTURE, target=[0, 1])
    save_panel(found, tmp_path / "p.png", scale="own")
    with Image.open(tmp_path / "p.png") as image:
        assert image.width > 500
    assert panel(_explainer()(PICTURE), names=["mine"]).width > 300
    with pytest.raises(UsageError, match="nothing to draw"):
        panel([])
    with pytest.raises(UsageError, match="2 names for 1 maps"):
        panel(_explainer()(PICTURE), names=["a", "b"])


def test_threads_share_an_explainer() -> None:
    explain = Explainer(nets.cnn(channels=3), device="cpu", threads=1)
    inputs = [RNG.standard_normal((1, 3, 6, 6)).astype("f4") for _ in range(24)]
    want = [_explainer()(x, target=k % 3).map for k, x in enumerate(inputs)]
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(explain, x, k % 3, method=("gradcam", "layercam")[k % 2])
            for k, x in enumerate(inputs)
        ]
        found = [job.result() for job in jobs]
    for k, e in enumerate(found):
        assert e.target == k % 3
        if k % 2 == 0:
            np.testing.assert_allclose(e.map, want[k], atol=1e-6)


def test_explainers_of_one_model_share_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNXCAM_CACHE", str(tmp_path))
    (tmp_path / "m.onnx").write_bytes(nets.cnn(channels=3, classes=4).SerializeToString())
    made: list[object] = []
    real = runner.Session

    class Counted(real):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **options: Any) -> None:
            made.append(args)
            super().__init__(*args, **options)

    monkeypatch.setattr(runner, "Session", Counted)
    first = Explainer(tmp_path / "m.onnx", device="cpu")
    again = Explainer(tmp_path / "m.onnx", device="cpu")
    assert len(made) == 1
    np.testing.assert_array_equal(first(X).map, again(X).map)
    Explainer(tmp_path / "m.onnx", device="cpu", threads=1)
    assert len(made) == 2  # another number of threads is another session
    del first, again
    gc.collect()
    Explainer(tmp_path / "m.onnx", device="cpu")
    assert len(made) == 3  # none is kept that nobody uses


def test_the_library_logs_and_is_silent_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "onnxcam"):
        _explainer(cache=False)
    assert any("session made" in record.message for record in caplog.records)
    done = subprocess.run(
        [sys.executable, "-c", "import onnxcam, sys; sys.path.insert(0, 'tests');"
         "from support import nets; onnxcam.Explainer(nets.cnn(), cache=False)"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.stdout == done.stderr == ""


def test_the_api_is_seen_by_completion() -> None:
    assert {"Explainer", "convert", "load", "panel", "methods"} <= set(dir(onnxcam))
    assert onnxcam.panel is panel
