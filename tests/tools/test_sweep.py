"""The page of the sweep: what does not beat chance stands out, and it is up to date."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sweep.page import write
from sweep.proof import gains, interval, verdict
from sweep.store import Store
from sweep.subjects import Boxed, photographs, usable

ROOT = Path(__file__).resolve().parents[2]


def _row(*numbers: float, count: int = 3) -> dict[str, list[float]]:
    return {f"picture {k}": [*numbers, 1.0] for k in range(count)}


def _page(tmp_path: Path, kept: dict[str, Any]) -> str:
    results = tmp_path / "s.json"
    results.write_text(json.dumps(kept))
    assert write(results, tmp_path / "s.md", check=True) == 1
    assert write(results, tmp_path / "s.md", check=False) == 0
    assert write(results, tmp_path / "s.md", check=True) == 0
    return (tmp_path / "s.md").read_text()


def test_a_broken_method_stands_out(tmp_path: Path) -> None:
    rows: dict[str, Any] = {
        "centre": _row(0.5, 0.4, 0.2, 0.3), "random": _row(0.1, 0.2, 0.1, 0.1),
        "edges": _row(0.3, 0.2, 0.1, 0.1), "sound": _row(0.9, 0.6, 0.05, 0.5),
        "coarse": _row(0.9, 0.6, 0.2, 0.5), "broken": _row(0.1, 0.1, 0.2, 0.05),
        "odd": {"error": "UsageError: no convolution"}, "begun": {},
    }  # fmt: skip
    page = _page(tmp_path, {"net": rows, "other": {**rows, "sound": {"error": "E: never"}}})
    assert "**broken**" in page and "**sound**" not in page and "**coarse**" not in page
    assert "0.200 ± 0.00 -" in page and "*noise*" in page and "begun" not in page
    assert "### net, 3 pictures" in page
    assert "| sound | 0.900 ± 0.00 | 0.600 ± 0.00 | 0.050 ± 0.00 | 0.500 ± 0.00 | 4 | 4 | 4" in page
    assert "| sound | 12 | - | 100% |" in page and "| broken | **0** | **0** | 0% |" in page
    assert "- `odd`: no convolution" in page
    order = [page.index(f"| {name} |") for name in ("sound", "coarse")]
    assert order == sorted(order)  # the most winning first


def test_every_row_is_of_the_same_pictures(tmp_path: Path) -> None:
    """Of the first picture alone the method is worse, though its mean is the better one."""
    rows = {name: _row(0.2, 0.2, 0.2, 0.2) for name in ("centre", "edges", "random")}
    rows["random"]["picture 0"] = [0.9, 0.9, 0.0, 0.9, 1.0]
    rows["hard"] = _row(0.5, 0.5, 0.1, 0.5, count=1)
    page = _page(tmp_path, {"net": rows})
    assert "### net, 1 picture\n" in page
    assert "| **hard** | 0.500 - | 0.500 - | 0.100 - | 0.500 - | 4 | 0 | 4 | 1.00 |" in page


def test_a_proof_is_of_paired_differences() -> None:
    row = {"a": [1.0, 0.6, 0.1, 0.5, 1.0], "b": [0.0, 0.4, 0.3, 0.2, 1.0], "c": [1, None, 0, 1, 1]}
    rival = {"b": [1.0, 0.2, 0.1, 0.3, 1.0], "a": [0.0, 0.2, 0.2, 0.3, 1.0], "c": [1, 1, 1, 1, 1]}
    assert gains(row, rival, "localisation") == pytest.approx({"a": 0.7, "b": -0.4})
    assert gains(row, rival, "faithfulness") == pytest.approx({"a": 0.3, "b": -0.3, "c": 1.0})
    mean, half = interval(np.array([1.0, 2.0, 3.0]))
    assert mean == 2 and half == pytest.approx(
        4.302653 / 3**0.5, rel=1e-6
    )  # Student's t, 2 degrees
    assert [verdict(m, 0.5) for m in (0.6, -0.6, 0.4, -0.4)] == [True, False, None, None]
    assert verdict(1.0, interval(np.array([1.0]))[1]) is None


def test_the_proof_pools_models_by_picture(tmp_path: Path) -> None:
    """Two models of one picture are one picture; the transformer is no classifier of them."""
    pictures = {f"p{k}": [1.0, 0.5 + k / 10, 0.1, 0.5, 1.0] for k in range(4)}
    chance = {f"p{k}": [0.0, 0.5, 0.1, 0.5, 1.0] for k in range(4)}
    rows = {"gradcam": pictures, "random": chance}
    page = _page(tmp_path, {"one": rows, "two": rows, "digits-vit": rows})
    (line,) = (each for each in page.splitlines() if "*all photographs*" in each)
    assert "| one | 4 |" not in page  # too few for a line of their own
    # half of 1 and of 0, 0.1, 0.2, 0.3, whose deviation over the root of 4 is 0.0323 when halved
    assert (
        line == "| *all photographs* | 4 | none | **+0.57 ± 0.10** | none "
        "| none | +0.00 ± 0.00 | none |"
    )


def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.json")
    store.row("net", "rise")["one"] = [1.0, 0.5, 0.1, None, 0.2]
    store.row("net", "aise")["error"] = "no"
    store.save()
    again = Store(tmp_path / "s.json")
    assert again.kept == store.kept and again.row("net", "rise")["one"][3] is None
    again.save()
    assert Store(tmp_path / "s.json").kept == store.kept


def test_the_page_is_up_to_date() -> None:
    assert write(ROOT / "docs" / "sweep.json", ROOT / "docs" / "sweep.md", check=True) == 0


def test_boxes_lie_in_what_the_model_sees() -> None:
    """A box of the picture's left half, of which the model sees the middle."""
    boxed = Boxed("x", None, (0,), ((0.0, 0.0, 50.0, 80.0),))
    mask = boxed.mask((8, 8), (20.0, 0.0, 100.0, 80.0))
    want = np.zeros((8, 8), bool)
    want[:, :3] = True
    np.testing.assert_array_equal(mask, want)
    np.testing.assert_array_equal(boxed.mask((80, 100), None)[:, :50], True)


def test_a_photograph_of_both_sources_comes_once(tmp_path: Path) -> None:
    """In turn, COCO's kinds the largest first; small, huge and strange ones do not count."""
    own = [{"file": "000000000007.jpg", "imagenet": 340, "boxes": [[0, 0, 5, 5]]},
           {"file": "000000000008.jpg", "imagenet": 386, "boxes": [[0, 0, 5, 5]]}]  # fmt: skip
    kinds = {1: "zebra", 2: "person", 3: "cup", 4: "pizza"}
    areas = [(7, 1, 20), (9, 3, 10), (9, 4, 15), (9, 4, 5), (9, 1, 60), (9, 2, 20), (10, 3, 2)]
    held = {
        "categories": [{"id": k, "name": name} for k, name in kinds.items()],
        "images": [{"id": i, "width": 10, "height": 10, "file_name": f"{i}.jpg"}
                   for i in (7, 9, 10)],
        "annotations": [{"image_id": i, "category_id": k, "area": area, "bbox": [0, 0, area, 1]}
                        for i, k, area in areas],
    }  # fmt: skip
    for place, content in (("images/boxes.json", own), ("data/coco/instances.json", held)):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(json.dumps(content))
    found = list(photographs(tmp_path))
    assert [(b.name, b.classes[0]) for b in found] == [
        ("coco 7", 340), ("coco 9", 963), ("coco 8", 386), ("coco 9", 504)
    ]  # fmt: skip
    assert [len(b.boxes) for b in found] == [1, 2, 1, 1]


def test_what_the_model_sees_best_comes_first() -> None:
    """Each picture is a number, of which the model makes the probabilities."""

    class Explain:
        def __call__(self, picture: float) -> Any:
            return SimpleNamespace(tensor=np.float32(picture), map=np.zeros((10, 10)), box=None)

        def predict(self, tensor: np.ndarray) -> np.ndarray:
            return np.stack([tensor / 2, tensor], 1)

    small, large = ((0.0, 0.0, 5.0, 5.0),), ((0.0, 0.0, 10.0, 10.0),)
    boxed = [Boxed("a", 0.3, (0,), small), Boxed("b", 0.04, (1,), small),
             Boxed("c", 0.9, (1,), large), Boxed("d", 0.2, (0, 1), small),
             Boxed("a", 0.4, (1,), small)]  # fmt: skip
    found = usable(Explain(), iter(boxed))  # type: ignore[arg-type]
    assert [(each.name, each.picture, k) for each, k in found] == [("a", 0.4, 1), ("d", 0.2, 1)]
