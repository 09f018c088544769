"""The web page in a real browser: what it shows is what Python finds."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import checks
from support.web_driver import CHROMIUM, MODELS, NODE, NPM, WEB, driven, explain, unpacked

from onnxcam import Explainer

pytestmark = [
    pytest.mark.web,
    pytest.mark.skipif(NODE is None, reason="node is missing: apt-get install nodejs"),
]


@pytest.fixture(scope="module")
def web_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where the browser's demo and its looks are: one folder for all of pytest's processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "web"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def looks(web_folder: Path) -> dict[str, Any]:
    """What the page showed, visit by visit; one process drives the browser for all."""
    for name, program in (("chromium", CHROMIUM), ("npm", NPM)):
        if program is None:
            pytest.skip(f"{name} is missing: apt-get install {name}")
    with (web_folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (WEB / "node_modules" / "axe-core").is_dir():
            subprocess.run([NPM, "ci", "--ignore-scripts"], cwd=WEB, check=True, timeout=240)
        if not (web_folder / "looks.json").exists():
            driven(web_folder)
    return json.loads((web_folder / "looks.json").read_text())


@pytest.mark.parametrize(
    ("visit", "number", "model", "picture", "target", "alpha"),
    [
        ("squeezenet1.1", 0, "squeezenet1.1", "chelsea.png", None, 0.5),
        ("squeezenet1.1", 1, "squeezenet1.1", "coffee.png", None, 0.5),
        ("squeezenet1.1", 3, "squeezenet1.1", "coffee.png", "Egyptian cat", 0.5),
        ("squeezenet1.1", 14, "digit_rotation", "samples/digit_3.png", None, 0.5),
        ("mobilenetv2", 0, "mobilenetv2", "chelsea.png", "tiger cat", 0.5),
        ("mobilenetv2", 1, "mobilenetv2", "coffee.png", None, 0.5),
        ("mobilenetv2", 2, "mobilenetv2", "coffee.png", None, 0.8),
    ],
)
def test_the_browser_shows_what_python_finds(
    looks, visit, number, model, picture, target, alpha
) -> None:
    look = looks[visit][number]
    want = explain(model)(MODELS / picture, target)
    np.testing.assert_array_equal(unpacked(look["tensor"], np.float32)[0], want.tensor)
    assert f"{look['label']} {look['probability']}" == title(want)
    found = unpacked(look["map"], np.float32)
    assert np.abs(found - want.raw_map).max() <= 1e-4 * np.ptp(want.raw_map)
    pixels = unpacked(look["canvas"], np.uint8)
    assert (pixels[..., 3] == 255).all()
    off = np.abs(pixels[..., :3].astype(int) - want.overlay(alpha=alpha))
    assert off.mean() <= 0.02, "of 255"
    assert off.max() <= 4, "more than the neighbour in the colour map"
    assert look["state"] == "ready"
    assert look["alert"] == ""


def title(want) -> str:
    """Python's title, but for the page's way of writing small numbers."""
    if want.probability is not None and want.probability < 0.0005:
        return f"{want.label} < 0.1 %"
    return want.title if want.probability is not None else f"{want.label} {want.score:.3g}"


def test_the_most_probable_classes_are_listed_and_explained_on_a_click(looks) -> None:
    scores = explain("squeezenet1.1")(MODELS / "coffee.png").scores
    names = explain("squeezenet1.1").labels
    top = [names[i] for i in np.argsort(scores)[::-1][:5]]
    look = looks["squeezenet1.1"][2]
    assert [line.split("\n")[0] for line in look["top"]] == top
    assert look["label"] == top[2]


def test_the_colour_bar_says_the_raw_range(looks) -> None:
    want = explain("mobilenetv2")(MODELS / "coffee.png").map
    low, high = want.min(), want.max()
    look = looks["mobilenetv2"][1]
    assert look["ticks"] == ["0", f"{high / 2:.3g}", f"{high:.3g}"]
    size = "7 \N{MULTIPLICATION SIGN} 7"
    assert look["range"].startswith(f"Raw map from {low:.3g} to {high:.3g}, made at {size}.")
    assert look["range"].endswith("Gray: cut off before the model saw it.")
    assert "Gray" not in looks["squeezenet1.1"][0]["range"]


@pytest.mark.parametrize(
    ("visit", "number", "label", "says"),
    [
        ("squeezenet1.1", 4, "Egyptian cat", 'has no class "dragon". Choose one of the list'),
        ("squeezenet1.1", 7, "notebook", "notes.txt is no picture that this browser can read. Cho"),
        ("squeezenet1.1", 8, "notebook", "nothing.png is empty (0 bytes)"),
        ("squeezenet1.1", 9, "notebook", "not an explained one: it has no output onnxcam.map. Exp"),
        ("squeezenet1.1", 10, "notebook", "text.onnx is no model that ONNX Runtime can load: it i"),
        ("squeezenet1.1", 11, "notebook", "does not say how a picture becomes its input"),
        ("lost", 0, "Egyptian cat", 'The demo has no picture "unicorn.png". It has chelsea.png,'),
        ("no demo", 0, "…", "There is no demo here yet. Write it with python tools/web/make_demo"),
    ],
)
def test_what_cannot_be_used_is_named_and_the_rest_stays(looks, visit, number, label, says) -> None:
    look = looks[visit][number]
    assert look["state"] == "error"
    assert says in look["alert"]
    assert look["label"] == label


def test_a_target_with_a_default_leaves_the_top_class(looks) -> None:
    look = looks["squeezenet1.1"][12]
    assert look["label"] == "notebook"
    assert "only the top class is explained" in look["note"]
    assert look["alert"] == ""


@pytest.mark.parametrize(
    ("visit", "number", "model", "name"),
    [
        ("squeezenet1.1", 5, "squeezenet1.1", "turned.jpg"),
        ("mobilenetv2", 3, "mobilenetv2", "rocket.jpg"),
        ("squeezenet1.1", 6, "squeezenet1.1", "clear.png"),
    ],
)
def test_odd_pictures_come_out_as_pillow_reads_them(
    looks, web_folder, visit, number, model, name
) -> None:
    path = web_folder / name if (web_folder / name).exists() else MODELS / name
    explainer = explain(model)
    want = explainer(path)
    look = looks[visit][number]
    off = np.abs(unpacked(look["tensor"], np.float32)[0] - want.tensor)
    step = explainer.spec.scale / min(explainer.spec.std)  # one of 255, in the tensor's units
    assert off.max() <= 2 * step  # other JPEG decoders and roundings of a blend
    assert off.mean() <= 0.3 * step
    assert look["label"] == want.label


def test_threads_come_with_isolation_and_are_not_needed(looks) -> None:
    with_headers, plain = looks["squeezenet1.1"][0], looks["mobilenetv2"][0]
    assert with_headers["isolated"]
    threads = min(4, os.cpu_count() or 1)
    assert with_headers["facts"].endswith(f"on {threads} thread" + "s" * (threads > 1))
    assert not plain["isolated"]
    assert plain["facts"].endswith("on 1 thread")


def test_a_phone_shows_everything_within_its_width(looks) -> None:
    assert [look["overflow"] for look in looks["mobilenetv2"]] == [0] * 4


# Places of the looks of the visit "several"; between them the camera is waited for.
SEVERAL, LAYERCAM, LIVE, LIVE_TABBY, PAUSED, GOES_ON, LIVE_AGAIN = 1, 2, 4, 6, 7, 8, 9
OFF, OFFLINE, COFFEE = 11, 12, 13


def test_the_maps_of_a_file_are_offered_and_shown(looks) -> None:
    visit = looks["several"]
    assert visit[SEVERAL]["maps"] == ["gradcam", "layercam"] and visit[SEVERAL]["choice"]
    assert not visit[0]["choice"]  # one map is no choice
    explainer = Explainer(MODELS / "squeezenet1.1.onnx", ["gradcam", "layercam"], device="cpu")
    want = explainer(MODELS / "chelsea.png")
    for number, name in ((SEVERAL, "gradcam"), (LAYERCAM, "layercam")):
        found = unpacked(visit[number]["map"], np.float32)
        assert np.abs(found - want[name].raw_map).max() <= 1e-4 * np.ptp(want[name].raw_map)
        assert name in visit[number]["facts"] and visit[number]["label"] == "Egyptian cat"


def test_the_camera_is_explained_frame_by_frame(looks) -> None:
    visit = looks["several"]
    for number in (LIVE, LIVE_TABBY, LIVE_AGAIN):
        look = visit[number]
        assert look["camera"] == "live" and look["alert"] == ""
        assert float(look["rate"].removesuffix(" frames a second")) > 0
        assert look["described"].startswith("camera with the heatmap of ")
    assert visit[LIVE_TABBY]["label"] == "tabby"  # a class that is asked for is kept
    assert visit[PAUSED]["camera"] == "paused" and visit[PAUSED]["rate"] == "Paused"
    assert visit[GOES_ON]["camera"] == "live" and visit[OFF]["camera"] == "off"
    assert [look["overflow"] for look in visit] == [0] * len(visit)
    assert [error for look in visit[:OFFLINE] for error in look["errors"]] == []


def test_without_a_network_the_page_goes_on(looks) -> None:
    visit = looks["several"]
    assert visit[OFFLINE]["state"] == "ready" and visit[OFFLINE]["label"] == "Egyptian cat"
    assert visit[COFFEE]["label"] == "espresso" and visit[COFFEE]["alert"] == ""


def test_axe_core_finds_nothing_serious(looks, web_folder: Path) -> None:
    ready = "document.body.dataset.state === 'ready'"
    with checks.served(web_folder / "site") as base:
        jobs = [
            {"url": f"{base}/index.html", "width": width, "wait": ready, "scheme": scheme}
            for width, scheme in ((400, "light"), (1280, "dark"))
        ]
        found = checks.looked(jobs)
    assert [look["violations"] for look in found] == [[], []]
    assert [look["overflow"] for look in found] == [0, 0]


def test_the_page_fetches_from_its_own_server_and_sends_nothing(looks) -> None:
    for visit in ("squeezenet1.1", "mobilenetv2"):
        first, *_ = requests = [r for look in looks[visit] for r in look["requests"]]
        own = first.split("?")[0]
        assert own.startswith("GET http://127.0.0.1:")
        assert all(r.startswith((own, own.replace("http", "blob:http"))) for r in requests)


def test_the_page_says_nothing_on_the_console(looks) -> None:
    for visit in ("squeezenet1.1", "mobilenetv2", "lost"):
        assert [look["errors"] for look in looks[visit]] == [[]] * len(looks[visit])


# --- The tools ---------------------------------------------------------------------------


def test_the_lock_file_names_no_host() -> None:
    assert "://" not in (WEB / "package-lock.json").read_text()


def test_the_demo_says_what_it_cannot_explain(tmp_path: Path) -> None:
    shutil.copy(MODELS / "squeezenet1.1.onnx", tmp_path / "alone.onnx")
    command = [sys.executable, str(WEB / "make_demo.py"), str(tmp_path / "alone.onnx")]
    command.append(f"--out={tmp_path}/demo")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("make_demo: ")
    assert "--preprocess" in done.stderr
    assert "Traceback" not in done.stderr
