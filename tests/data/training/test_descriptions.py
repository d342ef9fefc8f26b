from pathlib import Path
from typing import Any

import pytest

import data.content as content
from data.errors import UserError
from data.files import append_jsonl, hash_file, write_json
from data.sample import Sample
from data.training.descriptions import (
    DescribeMode,
    DescriptionLog,
    DescriptionRow,
    Manner,
    Naming,
    choose_manner,
    description_key,
    load_descriptions,
    read_manner,
)

FREE = Manner(DescribeMode.free, 256)


def make_row(identity: str, text: str, key: str = "k", **changes: Any) -> DescriptionRow:
    values = {"key": key, "id": identity, "image": f"{identity}.png", "image_hash": "", **FREE.facts(), **changes}
    return DescriptionRow(description=text, **values)


def make_sample(folder: Path, pixels: bytes = b"pixels") -> Sample:
    image = folder / "a.png"
    image.write_bytes(pixels)
    return Sample(id="a", dataset="d", category="c", split="train", image=image)


def test_the_last_description_counts(tmp_path: Path) -> None:
    path = tmp_path / "d" / "x.jsonl"
    DescriptionLog(path).append([make_row("a", "old"), make_row("b", "other")])
    DescriptionLog(path).append([make_row("a", "new", "k2")])
    assert load_descriptions(path) == {"a": "new", "b": "other"}
    assert DescriptionLog(path).latest == {"a": "k2", "b": "k"}


def test_a_torn_last_line_is_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    DescriptionLog(path).append([make_row("a", "text")])
    with path.open("a") as file:
        file.write('{"id": "b", "key"')
    assert load_descriptions(path) == {"a": "text"}
    log = DescriptionLog(path)
    log.append([make_row("b", "again")])
    assert load_descriptions(path) == {"a": "text", "b": "again"}


def test_no_log_or_an_empty_one_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scripts\.describe"):
        load_descriptions(tmp_path / "x.jsonl")
    (tmp_path / "x.jsonl").touch()
    with pytest.raises(UserError):
        load_descriptions(tmp_path / "x.jsonl")


def test_the_key_depends_on_every_cause() -> None:
    causes = {"model": "m", "adapter": "a", "manner": Manner(), "names": ["hole"], "image_hash": "i"}
    causes["decoding"] = {"repetition_penalty": 1.0}
    others = {"model": "n", "adapter": "b", "manner": FREE, "names": ["dent"], "image_hash": "j"}
    others["decoding"] = {"repetition_penalty": 1.05}
    keys = {description_key(**(causes | {name: value})) for name, value in others.items()}
    assert len(keys | {description_key(**causes)}) == 7
    longer = {description_key(**(causes | {"manner": Manner(DescribeMode.free, n)})) for n in (48, 256)}
    assert len(longer) == 2
    structured, free = (
        {description_key(**(causes | {"manner": Manner(mode, naming=naming)})) for naming in Naming}
        for mode in (DescribeMode.structured, DescribeMode.free)
    )
    assert (len(structured), len(free)) == (2, 1)  # a free description names nothing


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"adapter": "new"}, "written with adapter 'old', wanted is 'new'.*EDDM was trained again"),
        ({"model": "new"}, "written with model 'base', wanted is 'new'"),
        (Manner().facts(), "written with mode 'free', wanted is 'structured'.*mode= and length="),
        ({"naming": "at_once"}, "written with naming '', wanted is 'at_once'.*naming= as wanted"),
        (Manner(DescribeMode.free, 48).facts(), "written with length '256', wanted is '48'"),
    ],
)
def test_descriptions_by_another_model_or_in_another_manner_are_refused(
    tmp_path: Path, expected: dict[str, Any], message: str
) -> None:
    sample, path = make_sample(tmp_path), tmp_path / "x.jsonl"
    row = make_row("a", "text", image_hash=hash_file(sample.image), model="base", adapter="old")
    DescriptionLog(path).append([row])
    with pytest.raises(UserError, match=message):
        load_descriptions(path, [sample], expected)
    assert load_descriptions(path, [sample], {"model": "base", "adapter": "old", **FREE.facts()}) == {"a": "text"}
    assert load_descriptions(path, [], expected) == {"a": "text"}


def test_a_description_of_another_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "SETTLED_SECONDS", -1.0)
    sample, path = make_sample(tmp_path), tmp_path / "x.jsonl"
    DescriptionLog(path).append([make_row("a", "text", image_hash=hash_file(sample.image))])
    assert load_descriptions(path, [sample]) == {"a": "text"}
    make_sample(tmp_path, b"others")
    with pytest.raises(UserError, match=r"a in .* is about another image than .*a\.png holds now"):
        load_descriptions(path, [sample])


def test_descriptions_of_an_earlier_version_are_taken_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.jsonl"
    append_jsonl(path, [{"id": "a", "key": "k", "description": "text", "mode": "structured", "adapter": "old"}])
    assert load_descriptions(path, [make_sample(tmp_path)], Manner().facts()) == {"a": "text"}
    assert "1 descriptions in" in caplog.text and "cannot be checked" in caplog.text
    with pytest.raises(UserError, match="adapter 'old'"):
        load_descriptions(path, [make_sample(tmp_path)], {"adapter": "new"})


def test_an_mdlm_is_told_what_it_was_trained_with_unless_said_otherwise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_manner(tmp_path) is None
    assert choose_manner(tmp_path, None, None) == Manner()
    write_json(tmp_path / "manifest.json", {"descriptions": FREE.facts()})
    assert choose_manner(tmp_path, None, None) == FREE
    assert not caplog.text
    assert choose_manner(tmp_path, DescribeMode.structured, None).mode is DescribeMode.structured
    assert "trained with" in caplog.text
    assert choose_manner(tmp_path, None, 64) == Manner(DescribeMode.free, 64)
    told = Manner(naming=Naming.at_once)
    write_json(tmp_path / "manifest.json", {"descriptions": told.facts()})
    assert choose_manner(tmp_path, None, None).facts() == told.facts()
    earlier = {name: value for name, value in Manner().facts().items() if name != "naming"}
    write_json(tmp_path / "manifest.json", {"descriptions": earlier})
    assert read_manner(tmp_path).facts() == Manner().facts()  # type: ignore[union-attr]
