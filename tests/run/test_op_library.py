"""Custom operators: their library is registered where the user names it, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from support import nets

from onnxcam import Explainer, ModelError, UsageError, convert
from onnxcam.cli import main
from onnxcam.model.draft import exposed
from onnxcam.model.model import load
from onnxcam.run import session as sessions
from onnxcam.run.session import Session

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = "com.microsoft.extensions"


def _between() -> onnx.ModelProto:
    """Return an ordinary network between operators of a library that read and write files."""
    nodes = [
        helper.make_node("DecodeImage", ["file"], ["bgr"], domain=DOMAIN, pixel_format="BGR"),
        helper.make_node("Cast", ["bgr"], ["real"], to=1),
        helper.make_node("Transpose", ["real"], ["chw"], perm=[2, 0, 1]),
        helper.make_node("Unsqueeze", ["chw", "zero"], ["row"]),
        helper.make_node("Reshape", ["row", "shape"], ["x"]),
        helper.make_node("Conv", ["x", "w"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("MatMul", ["flat", "fc"], ["logits"]),
    ]
    rng = np.random.default_rng(4)
    weights = {
        "zero": np.array([0], "i8"),
        "shape": np.array([1, 3, 12, 16], "i8"),
        "w": rng.normal(size=(4, 3, 3, 3)).astype("f4") / 255,
        "fc": rng.normal(size=(4, 3)).astype("f4"),
    }
    graph = helper.make_graph(
        nodes,
        "between",
        [helper.make_tensor_value_info("file", 2, ["num_bytes"])],
        [helper.make_tensor_value_info("logits", 1, [1, 3])],
        [onnx.numpy_helper.from_array(v, n) for n, v in weights.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


class _Options:
    """Session options that keep what is registered."""

    def __init__(self) -> None:
        self.libraries: list[str] = []

    def register_custom_ops_library(self, path: str) -> None:
        self.libraries.append(path)


def test_every_session_of_a_model_gets_its_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "ops.so"
    library.write_bytes(b"no library")
    seen = []
    monkeypatch.setattr(
        sessions, "with_libraries", lambda options, paths: seen.append(tuple(paths)) or options
    )
    model = load(nets.cnn(), op_library=library)
    assert model.libraries == (library,) and load(model) is model
    assert load(model, opset=17).libraries == (library,)
    assert exposed(model, ["relu"]).libraries == (library,)
    x = np.zeros((1, 2, 6, 6), "f4")
    for method in ("gradcam", "score-cam", "integrated-gradients"):
        Explainer(nets.cnn(), method, op_library=[library], device="cpu", threads=1)(x)
    convert(nets.cnn(), tmp_path / "out.onnx", op_library=str(library))
    assert set(seen) == {(library,)} and len(seen) > 5
    seen.clear()
    Explainer(nets.cnn(), device="cpu", threads=1)(x)
    assert set(seen) == {()}


def test_libraries_are_registered_by_their_whole_path(tmp_path: Path) -> None:
    options = _Options()
    sessions.with_libraries(options, [tmp_path / ".." / tmp_path.name / "ops.so"])
    assert options.libraries == [str(tmp_path.resolve() / "ops.so")]


def test_a_library_that_is_not_there_or_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.so: no such operator library"):
        Explainer(nets.cnn(), op_library="none.so")
    text = tmp_path / "text.so"
    text.write_text("no library")
    with pytest.raises(ModelError, match=r"text\.so: ONNX Runtime cannot load"):
        Explainer(nets.cnn(), device="cpu", op_library=text)
    onnx.save(nets.cnn(), tmp_path / "net.onnx")
    called = [str(tmp_path / "net.onnx"), "x.npy", "--op-library", "none.so"]
    said = CliRunner().invoke(main, ["explain", *called])
    assert said.exit_code == 2 and "none.so" in said.output


def test_a_model_that_needs_one_says_how_to_name_it_and_none_is_loaded_unasked() -> None:
    model = _between()
    model.metadata_props.add(key="onnxcam.op_library", value="evil.so")  # which nobody reads
    with pytest.raises(ModelError, match=r"`op_library=FILE`.*only a model asks for"):
        Explainer(model, device="cpu", cache=False)


def test_a_network_between_such_operators_is_explained() -> None:
    """Its map is that of the network alone, fed with the pixels."""
    extensions = pytest.importorskip("onnxruntime_extensions")
    from PIL import Image

    picture = ROOT / "models" / "samples" / "digit_0.png"
    pixels = np.asarray(Image.open(picture).convert("RGB").resize((16, 12)))
    data = _png(pixels)
    library = extensions.get_library_path()
    explainer = Explainer(_between(), op_library=library, device="cpu", threads=1, cache=False)
    found = explainer(np.frombuffer(data, np.uint8), target=1)
    alone = _between()
    del alone.graph.node[:5], alone.opset_import[1]
    alone.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", 1, [1, 3, 12, 16]))
    x = pixels[..., ::-1].transpose(2, 0, 1)[None].astype("f4")
    want = Explainer(alone, device="cpu", threads=1, cache=False)(x, target=1)
    assert found.raw_map.shape == (12, 16)
    np.testing.assert_allclose(found.raw_map, want.raw_map, rtol=1e-4, atol=1e-6)
    assert Session(explainer.model, device="cpu").outputs == ("logits",)


def _png(pixels: Any) -> bytes:
    import io

    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    return held.getvalue()


def test_a_file_is_the_input_of_what_takes_bytes(tmp_path: Path) -> None:
    from onnxcam.inputs import InputSpec, ModelInput, prepare
    from onnxcam.inputs.tensor import is_picture

    declared = ModelInput("file", ("num_bytes",), np.dtype(np.uint8))
    picture = ROOT / "models" / "samples" / "digit_0.png"
    assert not is_picture(picture, declared)
    made = prepare(picture, InputSpec(pictures=False), declared)
    assert made.tensor.tobytes() == picture.read_bytes() and made.source == str(picture)
