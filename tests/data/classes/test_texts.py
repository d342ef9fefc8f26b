import json
from pathlib import Path

import pytest

from data.classes import texts
from data.classes.texts import check_descriptions, load_products, plain_name, read_unique_json, shared_descriptions
from data.doctor.contents import Role, look_into
from data.errors import UserError

SHIPPED = sorted(Path(texts.__file__).parent.glob("*.yaml"))
GOOD_YAML = """
nut:
  normal: A nut.
  classes:
    thread_side: {name: side thread, description: On the side.}
    bent: {description: It is bent.}
"""


def write(tmp_path: Path, text: str, name: str = "classes.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_yaml(tmp_path: Path) -> None:
    product = load_products(write(tmp_path, GOOD_YAML))["nut"]
    assert product.normal == "A nut."
    assert product.strategy == ""
    assert [(entry.key, entry.name) for entry in product.classes] == [("thread_side", "side thread"), ("bent", "bent")]


def test_velm_json(tmp_path: Path) -> None:
    value = {"nut": {"normal": ["A nut."], "bent": ["bent ring", "It is bent."]}}
    product = load_products(write(tmp_path, json.dumps(value), "d.json"))["nut"]
    assert (product.normal, product.classes[0].name, product.classes[0].key) == ("A nut.", "bent ring", "bent")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_are_complete(path: Path) -> None:
    products = load_products(path)
    check_descriptions(products, path)
    assert all(len(product.classes) >= 2 for product in products.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Not a mapping"),
        ("{}", "No categories"),
        ("nut: [1, 2", "Not valid YAML"),
        ("nut: {normal: A nut., classes: {}}", "No anomaly classes"),
        ("nut: {classes: {a: {description: b}}}", "Missing normal"),
        ("nut: {normal: n, classes: {a: {name: b}}}", "Missing description.*class 'a'"),
        ("nut: {normal: n, classes: {a: {description: '  '}}}", "Not a text"),
        ("nut: {normal: n, classes: {a: {description: 3}}}", "Not a text: description is 3"),
        ("nut: {normal: n, colour: red, classes: {a: {description: b}}}", "Unknown keys.*colour"),
        ("nut: {normal: n, classes: {a: {description: b, nmae: c}}}", "Unknown keys.*nmae"),
        ("nut: {normal: n, classes: {a: {description: b}, a: {description: c}}}", "Key written twice: 'a'"),
        (
            "nut: {normal: n, classes: {a: {name: big hole, description: b}, b: {name: Big-Holes, description: c}}}",
            "The same name for 'a' and 'b'",
        ),
        ("nut: {normal: n, classes: {a: {name: good, description: b}}}", "The same name for 'good'"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_products(write(tmp_path, text))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"nut": {"normal": ["n"], "a": ["b"]}}, "Not a name and a description"),
        ({"nut": {"normal": ["n"], "a": ["b", ""]}}, "Missing description"),
        ({"nut": {"a": ["b", "c"]}}, "Missing normal"),
        ({"nut": ["n"]}, "Not a mapping"),
    ],
)
def test_bad_velm_files(tmp_path: Path, value: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_products(write(tmp_path, json.dumps(value), "d.json"))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Missing class descriptions"):
        load_products(tmp_path / "none.yaml")


def test_shared_descriptions(tmp_path: Path) -> None:
    text = "nut: {normal: n, classes: {a: {description: It is bent.}, b: {description: it  is bent.}}}"
    path = write(tmp_path, text)
    assert shared_descriptions(load_products(path)) == [("nut", "a", "b")]
    with pytest.raises(UserError, match="The same description for 'a' and 'b'"):
        check_descriptions(load_products(path), path)


def test_json_keys_written_twice(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Key written twice: 'a'"):
        read_unique_json(write(tmp_path, '{"a": 1, "a": 2}', "p.json"))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("small-holes", "small_hole", True),
        (" Scratch.", "scratch", True),
        ("glass", "glas", False),
        ("cut", "cuts", True),
        ("thread side", "thread top", False),
        ("gas", "ga", False),
    ],
)
def test_plain_name(first: str, second: str, same: bool) -> None:
    assert (plain_name(first) == plain_name(second)) is same


def test_aliases_that_stand_for_gigabytes_are_refused(tmp_path: Path) -> None:
    levels = "\n".join(f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12))
    for name, text in (("bomb", f"nut:\n  l0: &l0 [x]\n{levels}\n"), ("plain", "a: &a {normal: n}\nb: *a\n")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        with pytest.raises(UserError, match=rf"{name}\.yaml: the alias \*\w+ in line \d+ is not read"):
            load_products(path)
        assert "is not read" in look_into(path, Role.ANNOTATION)["why"]


def test_what_a_file_holds_is_cut_short_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"nut: [{', '.join(['x' * 1000] * 1000)}]\n")
    with pytest.raises(UserError) as caught:
        load_products(path)
    assert len(str(caught.value)) < 1000 + len(str(path))
    path.write_text('nut: "\\e[31m' + "[" * 5 + '"\n')
    with pytest.raises(UserError) as caught:
        load_products(path)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_file_nested_too_deep_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text('{"a":' * 20_000 + "1" + "}" * 20_000)
    with pytest.raises(UserError, match="is nested too deep"):
        load_products(path)
