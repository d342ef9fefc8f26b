from pathlib import Path

import pytest

from data.errors import UserError
from data.training.descriptions import DescriptionLog, DescriptionRow, description_key, load_descriptions


def make_row(identity: str, text: str, key: str = "k") -> DescriptionRow:
    return DescriptionRow(key=key, id=identity, image=f"{identity}.png", mode="free", description=text)


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
    causes = {"model": "m", "adapter": "a", "mode": "free", "prompt": "p", "image_hash": "i"}
    keys = {description_key(**(causes | {name: "other"})) for name in causes}
    assert len(keys | {description_key(**causes)}) == 6
