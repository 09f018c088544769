"""The programs of docs/snippets: run where their runtime is, compiled where it is not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from pages import checks
from support.web_driver import CHROMIUM, NODE, NPM, WEB

import onnxcam

ROOT = Path(__file__).resolve().parents[2]
SNIPPETS = ROOT / "docs" / "snippets"
STUBS = ROOT / "tests" / "support" / "stubs"
SAID = re.compile(r"class \d+,? .*map \(?\[?\s*1")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where explained.onnx and web.onnx are, as the page makes them."""
    folder = tmp_path_factory.mktemp("snippets")
    model = ROOT / "models" / "squeezenet1.1.onnx"
    onnxcam.convert(model, folder / "explained.onnx", check=False)
    onnxcam.convert(model, folder / "web.onnx", require_target=True, opset=17, check=False)
    return folder


def _done(*words: str | Path, **how: Any) -> str:
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, timeout=180, **how
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["run.py", "binding.py"])
def test_python_runs(files: Path, name: str) -> None:
    said = _done(sys.executable, SNIPPETS / name, files / "explained.onnx")
    assert re.search(r"map [\[(]1, 1, 224, 224[\])]", said)


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder in which node finds ONNX Runtime Web and playwright."""
    if NODE is None or NPM is None:
        pytest.skip("node or npm is missing")
    if not (WEB / "node_modules" / "axe-core").is_dir():
        _done(NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=WEB)
    return WEB


@pytest.mark.web
@pytest.mark.parametrize("name", ["explained.onnx", "web.onnx"])
def test_javascript_runs_in_node(files: Path, packages: Path, name: str) -> None:
    # ONNX Runtime Web has the interface of onnxruntime-node, whose package is ten times larger.
    code = (SNIPPETS / "run.mjs").read_text().replace("onnxruntime-node", "onnxruntime-web")
    said = _done(str(NODE), "--input-type=module", "-e", code, "-", files / name, cwd=packages)
    assert re.search(r"class \d+ map \[ 1, 1, 224, 224 \]", said)


@pytest.mark.web
def test_javascript_runs_in_a_page(files: Path, packages: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("chromium is missing")
    folder = files / "page"
    folder.mkdir()
    shutil.copy(SNIPPETS / "web.html", folder)
    shutil.copy(files / "web.onnx", folder / "explained.onnx")
    (folder / "node_modules").symlink_to(packages / "node_modules")
    with checks.served(folder) as base:
        job = {"url": f"{base}/web.html", "width": 400, "read": "#said"}
        wait = "document.getElementById('said').textContent.startsWith('class')"
        (look,) = checks.looked([{**job, "wait": wait}])
    assert look["text"].endswith("map 1,1,224,224")
    assert look["violations"] == []


def test_cpp_compiles(files: Path, tmp_path: Path) -> None:
    """Against the real header where ONNXRUNTIME_ROOT names a release; else against our stub."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    common = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", SNIPPETS / "run.cc"]
    root = os.environ.get("ONNXRUNTIME_ROOT")
    if root is None:
        _done(*common, "-fsyntax-only", f"-I{STUBS}")
        return
    lib = Path(root) / "lib"
    _done(*common, f"-I{root}/include", f"-L{lib}", "-lonnxruntime", "-o", tmp_path / "run")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(lib)}
    said = _done(tmp_path / "run", files / "explained.onnx", env=environment)
    assert "class 285, map 224 x 224" in said


def test_csharp_compiles(tmp_path: Path) -> None:
    """Against a stub: the package is not to be had where the tests run."""
    compiler = shutil.which("mcs")
    if compiler is None:
        pytest.skip("there is no C# compiler: apt-get install mono-mcs")
    sources = (SNIPPETS / "Run.cs", STUBS / "OnnxRuntime.cs")
    _done(compiler, *sources, "-warnaserror", f"-out:{tmp_path / 'run.exe'}")


# --- Servers -------------------------------------------------------------------------------

TYPES = ["TYPE_INVALID", "TYPE_FP32", "TYPE_INT64"]  # of Triton's, those that are used
KINDS = ["KIND_AUTO", "KIND_GPU", "KIND_CPU"]
SPELT = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64"}


def _config() -> Any:
    """Read config.pbtxt by the part of Triton's ModelConfig that it uses."""
    file = descriptor_pb2.FileDescriptorProto(name="config.proto", package="t", syntax="proto3")
    for name, values in (("DataType", TYPES), ("Kind", KINDS)):
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    fields = {
        "Port": [("name", 9, 0, ""), ("data_type", 14, 0, ".t.DataType"), ("dims", 3, 1, ""),
                 ("optional", 8, 0, "")],
        "Group": [("kind", 14, 0, ".t.Kind"), ("count", 5, 0, "")],
        "ModelConfig": [("name", 9, 0, ""), ("backend", 9, 0, ""), ("max_batch_size", 5, 0, ""),
                        ("input", 11, 1, ".t.Port"), ("output", 11, 1, ".t.Port"),
                        ("instance_group", 11, 1, ".t.Group")],
    }  # fmt: skip
    for name, listed in fields.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, many, of) in enumerate(listed, 1):
            added = message.field.add(name=field, number=number, type=kind, label=3 if many else 1)
            if of:
                added.type_name = of
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.ModelConfig"))
    return text_format.Parse((SNIPPETS / "triton" / "config.pbtxt").read_text(), made())


def _shape(dims: list[Any]) -> list[int]:
    return [d if isinstance(d, int) else -1 for d in dims]


def _ports(of: Any) -> Iterator[tuple[str, str, list[int]]]:
    for port in of:
        yield port.name, TYPES[port.data_type], list(port.dims)


def test_tritons_config_is_that_of_the_file(files: Path) -> None:
    onnxcam.convert(
        ROOT / "models" / "squeezenet1.1.onnx",
        files / "any.onnx",
        runtime_targets=True,
        check=False,
    )
    session = onnxruntime.InferenceSession(files / "any.onnx", providers=["CPUExecutionProvider"])
    config = _config()
    assert config.max_batch_size == 0 and config.backend == "onnxruntime"
    for said, there in (
        (config.output, session.get_outputs()),
        (config.input, [*session.get_inputs(), *session.get_overridable_initializers()]),
    ):
        want = {p.name: (SPELT[p.type], _shape(p.shape)) for p in there}
        for name, kind, dims in _ports(said):
            assert want[name][0] == kind
            assert all(a in (b, -1) for a, b in zip(dims, want[name][1], strict=True)), name
    assert {p.name for p in config.input if p.optional} == {"onnxcam.target"}


def test_kserves_service_and_request_name_what_is_there() -> None:
    text = (SNIPPETS / "kserve.yaml").read_text()
    keys = dict(re.findall(r"^\s*(\w+): (\S.*?)(?:\s+#.*)?$", text, re.MULTILINE))
    assert keys["kind"] == "InferenceService" and keys["protocolVersion"] == "v2"
    assert keys["runtime"] == "kserve-tritonserver" and "\t" not in text
    request = json.loads((SNIPPETS / "request.json").read_text())
    config = _config()
    assert [i["name"] for i in request["inputs"]] == [i.name for i in config.input]
    assert [o["name"] for o in request["outputs"]] == [o.name for o in config.output]
    for given, port in zip(request["inputs"], config.input, strict=True):
        assert f"TYPE_{given['datatype']}" == TYPES[port.data_type]
