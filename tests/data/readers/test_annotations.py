from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.annotations import check_inside, read_lines, take


@pytest.mark.parametrize("relative", ["../x.png", "a/../../x.png", "/etc/x.png", "C:\\x.png", "..\\x.png", "", "."])
def test_a_path_that_climbs_out_is_refused(relative: str) -> None:
    with pytest.raises(UserError, match=r"Path outside the dataset: '.*' in list\.json"):
        check_inside(relative, Path("list.json"))


def test_dots_in_names_and_backslashes_are_fine() -> None:
    assert check_inside("a b\\c.png", Path("list.json")) == "a b/c.png"
    assert check_inside("a..b/c...png", Path("list.json")) == "a..b/c...png"


@pytest.mark.parametrize("record", [{"b": 1}, {"a": "1"}, ["a"], None])
def test_a_wrong_record_is_named(record: object) -> None:
    with pytest.raises(UserError, match=r"list\.json: no int 'a'"):
        take(record, "a", int, Path("list.json"))


def test_lines_have_neither_mark_nor_carriage_returns(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes("\ufeffé\r\nb\r\n".encode())
    assert read_lines(path) == ["é", "b"]
    path.write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match="Not UTF-8 text"):
        read_lines(path)
    with pytest.raises(UserError, match="Missing file"):
        read_lines(tmp_path / "none.txt")
