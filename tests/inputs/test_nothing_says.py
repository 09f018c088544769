"""Where nothing describes an input that is one error, where a description is wrong another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support import nets

import onnxcam
from onnxcam.cli import main
from onnxcam.errors import InputError, NoDescriptionError, OnnxcamError, UsageError
from onnxcam.inputs import resolve
from onnxcam.look.presets import try_presets

X = np.zeros((1, 3, 6, 6), np.float32)
OPTION = "mine.toml"


def _text(name: str, text: str) -> Callable[[Path], None]:
    """Return what writes a file beside the model."""
    return lambda folder: (folder / name).write_text(text) and None


def _metadata(key: str, value: str) -> Callable[[Path], None]:
    """Return what adds metadata to the model."""

    def add(folder: Path) -> None:
        proto = nets.cnn(channels=3)
        proto.metadata_props.add(key=key, value=value)
        (folder / "m.onnx").write_bytes(proto.SerializeToString())

    return add


def _gap(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"id2label": {"0": "cat", "2": "dog"}}))


BROKEN: dict[str, Callable[[Path], None]] = {
    "option: no TOML": _text(OPTION, "scale = "),
    "option: unknown field": _text(OPTION, "scales = 2"),
    "sidecar: no TOML": _text("m.toml", "scale = "),
    "sidecar: no UTF-8": lambda folder: (folder / "m.toml").write_bytes(b"\xff\xfe\x00") and None,
    "sidecar: unknown field": _text("m.toml", 'labels = ["a"]\nscales = 2'),
    "sidecar: wrong value": _text("m.toml", 'labels = ["a"]\nscale = "big"'),
    "sidecar: not this model": _text("m.toml", "scale = 2\nsize = [9, 9]"),
    "sidecar: labels are missing": _text("m.toml", 'scale = 2\nlabels = "nowhere.txt"'),
    "sidecar: a link to nothing": lambda folder: (folder / "m.toml").symlink_to("nowhere.toml"),
    "metadata: wrong value": _metadata("onnxcam.input.mean", "[1, 2]"),
    "metadata: unknown field": _metadata("onnxcam.input.means", "1"),
    "metadata: not this model": _metadata("onnxcam.input.channels", "GRAY"),
    "preprocessor: no JSON": _text("preprocessor_config.json", "{"),
    "preprocessor: unknown steps": _text(
        "preprocessor_config.json", '{"image_processor_type": "OddImageProcessor"}'
    ),
    "labels: a gap": _gap,
}


def _silent(folder: Path) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(nets.cnn(channels=3).SerializeToString())
    return path


@pytest.fixture(params=BROKEN)
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str | None]:
    """A model, and the option to pass, one place of which says something wrong."""
    path = _silent(tmp_path)
    BROKEN[request.param](tmp_path)
    return path, str(tmp_path / OPTION) if (tmp_path / OPTION).exists() else None


def _wrong(caught: pytest.ExceptionInfo[OnnxcamError]) -> None:
    assert isinstance(caught.value, UsageError | InputError)
    assert not isinstance(caught.value, NoDescriptionError), caught.value


def test_what_is_wrong_is_not_nothing(broken: tuple[Path, str | None]) -> None:
    path, option = broken
    explain = onnxcam.Explainer(path, preprocess=option, device="cpu")
    for ask in (lambda: explain.spec, lambda: explain.labels):
        with pytest.raises(OnnxcamError) as caught:
            ask()
        _wrong(caught)


def test_a_conversion_never_drops_what_is_wrong(broken: tuple[Path, str | None]) -> None:
    path, option = broken
    with pytest.raises(OnnxcamError) as caught:
        onnxcam.convert(path, path.with_name("out.onnx"), preprocess=option)
    _wrong(caught)
    assert not path.with_name("out.onnx").exists()


def test_ready_arrays_do_not_hide_what_is_wrong(broken: tuple[Path, str | None]) -> None:
    path, option = broken
    with pytest.raises(OnnxcamError) as caught:
        onnxcam.Explainer(path, preprocess=option, device="cpu")(X)
    _wrong(caught)


def test_the_shell_says_what_is_wrong(broken: tuple[Path, str | None]) -> None:
    path, option = broken
    np.save(path.with_name("x.npy"), X)
    chosen = ["--preprocess", option] if option else []
    for words in (["convert", path, "-o", path.with_name("out.onnx")],
                  ["explain", path, path.with_name("x.npy")]):  # fmt: skip
        result = CliRunner().invoke(main, [*map(str, words), *chosen])
        assert result.exit_code in (1, 2) and "onnxcam: " in result.output, result.output
        assert "Nothing says" not in result.output


@pytest.mark.parametrize(
    "broken", [name for name in BROKEN if not name.startswith("option")], indirect=True
)
def test_the_trial_of_presets_says_what_is_wrong(broken: tuple[Path, str | None]) -> None:
    path, _ = broken
    Image.new("RGB", (6, 6)).save(path.with_name("p.png"))
    first = try_presets(path, path.with_name("p.png"))[0]
    assert first.preset == "found" and first.problem


def test_where_nothing_says_arrays_and_conversions_do_without(tmp_path: Path) -> None:
    path = _silent(tmp_path)
    explain = onnxcam.Explainer(path, device="cpu")
    assert explain.labels is None and explain(X).label is None
    with pytest.raises(NoDescriptionError, match="Nothing says"):
        _ = explain.spec
    made = onnxcam.convert(path).explained.model.metadata
    assert not [key for key in made if key.startswith("onnxcam.input.")]
    Image.new("RGB", (6, 6)).save(tmp_path / "p.png")
    assert "found" not in [trial.preset for trial in try_presets(path, tmp_path / "p.png")]


def test_labels_alone_are_kept_for_ready_arrays(tmp_path: Path) -> None:
    path = _silent(tmp_path)
    (tmp_path / "m.toml").write_text('labels = ["cat", "dog", "bird"]')
    explain = onnxcam.Explainer(path, device="cpu")
    assert explain.labels == ("cat", "dog", "bird")
    assert explain(X, target="dog").label == "dog"
    with pytest.raises(NoDescriptionError) as caught:
        resolve(explain.input, model_path=path, metadata={}, option=None)
    assert caught.value.labels == ("cat", "dog", "bird")


def test_an_option_that_says_nothing_of_pixels_is_an_error(tmp_path: Path) -> None:
    path = _silent(tmp_path)
    (tmp_path / OPTION).write_text('labels = ["cat"]')
    with pytest.raises(NoDescriptionError):
        onnxcam.convert(path, preprocess=tmp_path / OPTION)
