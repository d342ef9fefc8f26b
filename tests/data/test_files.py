import errno
import os
from pathlib import Path

import pytest

from data.errors import FullDiskError, UserError
from data.files import (
    append_jsonl,
    hash_value,
    in_any_case,
    make_dir,
    missing_file,
    read_csv,
    read_json,
    read_jsonl,
    write_csv,
    write_json,
    write_jsonl,
)


def test_append_moves_a_torn_line_aside(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_jsonl(path, [{"a": 1}, {"a": 2}])
    with path.open("ab") as file:
        file.write('{"a": 3, "torn": "ü'.encode()[:-1])
    assert read_jsonl(path) == [{"a": 1}, {"a": 2}]
    append_jsonl(path, [{"a": 4}])
    assert read_jsonl(path) == [{"a": 1}, {"a": 2}, {"a": 4}]
    assert (tmp_path / "log.jsonl.torn").read_bytes() == b'{"a": 3, "torn": "\xc3\n'


def test_a_whole_last_row_counts_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n{"a": 2}')
    assert read_jsonl(path) == [{"a": 1}, {"a": 2}]
    append_jsonl(path, [{"a": 3}])
    assert read_jsonl(path) == [{"a": 1}, {"a": 2}, {"a": 3}]
    path.write_bytes(b'{"a": 1}')
    append_jsonl(path, [])
    assert path.read_bytes() == b'{"a": 1}\n'


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r", "\ud83d"])
def test_a_row_is_a_line_whatever_its_texts_hold(character: str, tmp_path: Path) -> None:
    row = {"reply": f"a{character}b"}
    append_jsonl(tmp_path / "log.jsonl", [row])
    append_jsonl(tmp_path / "log.jsonl", [row])
    write_jsonl(tmp_path / "rows.jsonl", [row])
    assert read_jsonl(tmp_path / "log.jsonl") == [row, row]
    assert read_jsonl(tmp_path / "rows.jsonl") == [row]


def test_what_is_no_text_or_nested_without_end_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n{"a": "\xff"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl, line 2 is not UTF-8 at byte 7"):
        read_jsonl(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"a\.json is nested too deep"):
        read_json(tmp_path / "a.json")


def test_a_bad_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a":\n{"a": 3}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl, line 2"):
        read_jsonl(path)


def test_a_missing_file_comes_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").touch()
    (tmp_path / "run" / "eddm").mkdir(parents=True)
    for name, words in (
        ("clases.yaml", "Did you mean classes.yaml?"),
        ("other.json", "Check the path."),
        ("nowhere/x.json", f"Nor is there a folder {tmp_path / 'nowhere'}."),
        ("run/eddm/config.json", "It is written by: python -m scripts.train_eddm run_dir=RUN"),
        ("run/ddqa/train.jsonl", "python -m scripts.build_ddqa"),
    ):
        assert words in str(missing_file(tmp_path / name)), name


def test_a_folder_is_found_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "MMAD").mkdir()
    assert in_any_case(tmp_path / "mmad") == in_any_case(tmp_path / "MMAD") == tmp_path / "MMAD"
    assert in_any_case(tmp_path / "visa") == tmp_path / "visa"
    assert in_any_case(tmp_path / "none" / "mmad") == tmp_path / "none" / "mmad"


def test_missing_and_malformed_json_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Missing file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match=r"bad\.json"):
        read_json(tmp_path / "bad.json")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"old": True})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FullDiskError, match=r"Cannot write .*value\.json: the disk is full"):
        write_json(path, {"new": True})
    assert read_json(path) == {"old": True}
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]


def test_files_have_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain.json").write_text("{}")
    write_json(tmp_path / "value.json", {})
    assert (tmp_path / "value.json").stat().st_mode == (tmp_path / "plain.json").stat().st_mode


def test_an_interrupted_generator_writes_nothing(tmp_path: Path) -> None:
    def rows():
        yield {"a": 1}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(tmp_path / "rows.jsonl", rows())
    assert list(tmp_path.iterdir()) == []


def test_a_directory_beneath_a_file_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a file is in the way"):
        make_dir(tmp_path / "file" / "below")


def test_hash_value_ignores_key_order() -> None:
    assert hash_value({"a": 1, "b": 2}) == hash_value({"b": 2, "a": 1})
    assert hash_value({"a": 1}) != hash_value({"a": 2})


def test_csv_with_bom_crlf_quotes_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('image, label ,more\r\n a b.png ,"x, y",1\r\n\r\nü.png,z,2\r\n'.encode("utf-8-sig"))
    assert read_csv(path, ["image", "label"]) == [
        {"image": "a b.png", "label": "x, y"},
        {"image": "ü.png", "label": "z"},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image\na\n", r"No column label in .*t\.csv; it has: image"),
        (b"", r"No column image, label"),
        (b"image,label\na\n", r"Row 2 of .*t\.csv has 1 values, not 2"),
        (b'image,label\na,"b\n', r"Not a CSV table in UTF-8: .*t\.csv"),
        (b"image,label\n\xff,b\n", r"Not a CSV table in UTF-8: .*t\.csv"),
    ],
)
def test_malformed_csv(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_csv(path, ["image", "label"])


def test_missing_csv(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Missing file: .*t\.csv"):
        read_csv(tmp_path / "t.csv", ["image"])


def test_json_may_begin_with_a_byte_order_mark_but_must_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a":\r\n1}')
    assert read_json(path) == {"a": 1}
    path.write_bytes(b'{"a": "caf\xe9"}')
    with pytest.raises(UserError, match="is not UTF-8 at byte 10"):
        read_json(path)


def test_no_cell_of_a_table_is_computed(tmp_path: Path) -> None:
    cells = ["=1+1", "+1+1", "-1-A1", "@SUM(A1)", "\tx", "plain", "a=b", "-0.5", "-1e-05"]
    write_csv(tmp_path / "a.csv", ["name", "other"], [[cell, "x"] for cell in cells])
    rows = read_csv(tmp_path / "a.csv", ["name"])
    assert [row["name"] for row in rows] == [
        "'=1+1",
        "'+1+1",
        "'-1-A1",
        "'@SUM(A1)",
        "'\tx",
        "plain",
        "a=b",
        "-0.5",
        "-1e-05",
    ]
