"""Class names from text, JSON and TOML."""

from __future__ import annotations

import pytest

from onnxcam.errors import InputError
from onnxcam.inputs.labels import load_labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "tabby cat\n größer \nねこ\n"),
        ("b.names", "tabby cat\r\ngrößer\r\nねこ\r\n\r\n"),
        ("c.txt", "\ufefftabby cat\ngrößer\nねこ"),
        ("a.json", '["tabby cat", "größer", "ねこ"]'),
        ("b.json", '{"2": "ねこ", "0": "tabby cat", "1": "größer"}'),
        ("c.json", '{"0": ["n02123045", "tabby cat"], "1": ["n1", "größer"], "2": ["n2", "ねこ"]}'),
        ("config.json", '{"id2label": {"0": "tabby cat", "1": "größer", "2": "ねこ"}, "x": 1}'),
        ("a.toml", 'labels = ["tabby cat", "größer", "ねこ"]'),
        ("b.toml", 'scale = 1\n[labels]\n1 = "größer"\n0 = "tabby cat"\n2 = "ねこ"'),
    ],
)
def test_every_form_gives_the_names_in_order(name, text, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert load_labels(tmp_path / name) == ("tabby cat", "größer", "ねこ")
    assert load_labels(str(tmp_path / name)) == ("tabby cat", "größer", "ねこ")


def test_ten_classes_are_ordered_by_number_not_by_text(tmp_path):
    names = ", ".join(f'"{i}": "class {i}"' for i in (10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0))
    (tmp_path / "x.json").write_text(f"{{{names}}}")
    assert load_labels(tmp_path / "x.json") == tuple(f"class {i}" for i in range(11))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "names no class"),
        ("x.txt", b" \n\n", "names no class"),
        ("x.txt", b"cat\n\ndog\n", "line 2 is empty, which shifts the classes after it"),
        ("x.txt", b"\xff\xfe", "not text in UTF-8"),
        ("x.txt", b"cat\0dog", "is not a text file"),
        ("x.json", b"[", "is not JSON"),
        ("x.json", b"[" * 100_000, "is not (usable )?JSON"),
        ("x.json", b"[]", "names no class"),
        ("x.json", b"3", "holds no labels"),
        ("x.json", b'"cat"', "holds no labels"),
        ("x.json", b'["cat", 3]', "label of class 1 is 3"),
        ("x.json", b'["cat", " "]', "label of class 1 is ' '"),
        ("x.json", b'{"cat": 0}', "keys are not class numbers"),
        ("x.json", b'{"1": "cat", "2": "dog"}', "2 labels, but none for class 0"),
        ("x.toml", b"labels = [", "is not TOML"),
        ("x.toml", b"other = 1", "holds no labels"),
    ],
)
def test_bad_files_say_file_and_reason(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_labels(tmp_path / name)
    assert str(tmp_path / name) in caught.value.message


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(InputError, match=r"absent\.txt cannot be read: No such file"):
        load_labels(tmp_path / "absent.txt")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_labels(tmp_path)


def test_only_a_line_feed_ends_a_name(tmp_path):
    """Python ends lines at ten more characters: each in a name would shift the classes after it."""
    names = ("a\x85b", "c\u2028d", "e\x0cf", "g\x1ch", "i\x0bj")
    (tmp_path / "l.txt").write_bytes("\n".join(names).encode() + b"\n")
    assert load_labels(tmp_path / "l.txt") == names


def test_keys_that_are_no_numbers_of_classes(tmp_path):
    from onnxcam.inputs.files import read_names

    assert read_names({"names": "{1e999: 'a'}"}) is None
    assert read_names({"names": "{0: 'a'}" + " " * 4_000_000}) is None
    assert read_names({"names": "{0: 'a'}"}) == ("a",)
