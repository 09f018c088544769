"""Set-up of the web page's tests: its scripts, its demo, and what the browser is told to do."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from onnxcam import Explainer, convert
from onnxcam.compose import explain_graph
from onnxcam.inputs import to_metadata

ROOT = Path(__file__).resolve().parents[2]
WEB, MODELS = ROOT / "tools" / "web", ROOT / "models"
NODE, NPM, CHROMIUM = (shutil.which(name) for name in ("node", "npm", "chromium"))
EXPLAINED = ("squeezenet1.1", "mobilenetv2", "digit_rotation")
# The camera has been explained at least three times since it was asked.
FRAMES = """(() => {
  const page = globalThis;
  if (page.seen?.result === page.onnxcam?.result) return false;
  page.seen = {result: page.onnxcam.result, count: (page.seen?.count ?? 0) + 1};
  if (page.seen.count < 3) return false;
  page.seen.count = 0;
  return true;
})()"""
PHONE = {"width": 390, "height": 844}
FOUR_BY_THREE = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7


def packed(array: np.ndarray) -> dict[str, Any]:
    return {"data": base64.b64encode(array.tobytes()).decode(), "shape": array.shape}


def unpacked(array: dict[str, Any], dtype: Any) -> np.ndarray:
    return np.frombuffer(base64.b64decode(array["data"]), dtype).reshape(array["shape"])


def node(script: str, *arguments: str, job: Any) -> Any:
    """Run one of the page's scripts: JSON in, JSON out."""
    command = [str(NODE), f"test/{script}", *arguments]
    done = subprocess.run(
        command,
        check=False,
        cwd=WEB,
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sample(name: str) -> dict[str, str]:
    return {"click": f'#samples button[title="{name}"]'}


def visits(isolated: str, plain: str, folder: Path) -> dict[str, dict[str, Any]]:
    """What the browser does: address, size of its window, steps."""
    demo = folder / "site" / "demo"
    squeezenet = [
        sample("coffee.png"),
        {"click": "#top li:nth-child(3) button"},
        {"target": "Egyptian cat"},
        {"target": "dragon"},
        {"file": str(folder / "turned.jpg")},
        {"file": str(folder / "clear.png")},
        {"file": str(folder / "notes.txt")},
        {"file": str(folder / "nothing.png")},
        {"drop": str(MODELS / "squeezenet1.1.onnx")},
        {"drop": str(folder / "text.onnx")},
        {"model": str(folder / "silent.onnx")},
        {"drop": str(folder / "optional.onnx")},
        {"model": str(demo / "digit_rotation.onnx")},
        sample("digit_3.png"),
    ]
    return {
        "squeezenet1.1": {"url": f"{isolated}?picture=chelsea.png", "steps": squeezenet},
        "mobilenetv2": {
            "url": f"{plain}?model=mobilenetv2.onnx&picture=chelsea.png&target=tiger%20cat",
            "viewport": PHONE,
            "steps": [sample("coffee.png"), {"alpha": 80}, sample("rocket.jpg")],
        },
        "several": {
            "url": f"{isolated}?picture=chelsea.png",
            "viewport": PHONE,
            "steps": [
                {"model": str(folder / "several.onnx")},
                {"map": "layercam"},
                {"click": "#camera"},
                {"until": FRAMES},
                {"target": "tabby"},
                {"until": FRAMES},
                {"click": "#pause"},
                {"click": "#pause"},
                {"until": FRAMES},
                {"screenshot": str(folder / "camera.png")},
                {"click": "#camera"},
                {"offline": True},
                sample("coffee.png"),
            ],
        },
        "lost": {"url": f"{plain}?picture=unicorn.png"},
        "no demo": {"url": f"{plain}bare/"},
    }


@contextmanager
def served(folder: Path, *options: str) -> Iterator[str]:
    command = [sys.executable, str(WEB / "serve.py"), "--port=0", f"--folder={folder}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def built(folder: Path) -> None:
    """Make the demo, the odd files, and a folder with the pages around them."""
    pictures = [MODELS / n for n in ("chelsea.png", "coffee.png", "rocket.jpg")]
    models = [str(MODELS / f"{name}.onnx") for name in EXPLAINED]
    command = [sys.executable, str(WEB / "make_demo.py"), *models, f"--out={folder}/site/demo"]
    pictures.append(MODELS / "samples" / "digit_3.png")
    subprocess.run([*command, "--pictures", *map(str, pictures)], check=True, timeout=240)
    for site in (folder / "site", folder / "site" / "bare"):
        site.mkdir(exist_ok=True)
        for page in (*WEB.glob("*.html"), *WEB.glob("*.css"), *WEB.glob("*.js")):
            (site / page.name).symlink_to(page)
        (site / "node_modules").symlink_to(WEB / "node_modules")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.open(MODELS / "rocket.jpg").save(folder / "turned.jpg", quality=95, exif=turned)
    rgba = np.dstack([FOUR_BY_THREE, np.resize([0, 255], (3, 4)).astype(np.uint8)])
    Image.fromarray(rgba).save(folder / "clear.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "nothing.png").write_bytes(b"")
    (folder / "text.onnx").write_text("no model")
    it = explain("squeezenet1.1")
    proto = explain_graph(it.model, it.catalog, it.method, feature=it.feature).proto
    onnx.save(proto, folder / "silent.onnx")
    several = convert(
        MODELS / "squeezenet1.1.onnx", method=["gradcam", "layercam"], upsampling="none",
        require_target=True, check=False,
    )  # fmt: skip
    onnx.save(several.proto, folder / "several.onnx")
    onnx.helper.set_model_props(proto, to_metadata(it.spec))
    onnx.save(proto, folder / "optional.onnx")


def driven(folder: Path) -> None:
    """Drive the browser once and keep what it showed."""
    built(folder)
    site = folder / "site"
    with served(site) as isolated, served(site, "--plain") as plain:
        plan = visits(isolated, plain, folder)
        looks = node("drive.mjs", str(CHROMIUM), job=list(plan.values()))
    (folder / "looks.json").write_text(json.dumps(dict(zip(plan, looks, strict=True))))


@cache
def explain(model: str) -> Explainer:
    return Explainer(MODELS / f"{model}.onnx", device="cpu", threads=1)
