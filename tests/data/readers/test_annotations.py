from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.annotations import check_inside, find_inside, read_lines, take


@pytest.mark.parametrize("relative", ["../x.png", "a/../../x.png", "/etc/x.png", "C:\\x.png", "..\\x.png", "", "."])
def test_a_path_that_climbs_out_is_refused(relative: str) -> None:
    with pytest.raises(UserError, match=r"Path outside its folder: '.*' in list\.json"):
        check_inside(relative, Path("list.json"))


def test_dots_in_names_and_backslashes_are_fine() -> None:
    assert check_inside("a b\\c.png", Path("list.json")) == "a b/c.png"
    assert check_inside("a..b/c...png", Path("list.json")) == "a..b/c...png"


@pytest.mark.parametrize("sealed", [False, True])
def test_a_file_s_names_stay_below_its_folder(tmp_path: Path, sealed: bool) -> None:
    (tmp_path / "secret.png").touch()
    (tmp_path / "real/images").mkdir(parents=True)
    (tmp_path / "real/images/a.png").touch()
    root = tmp_path / "root"
    root.symlink_to("real")  # the user's own link
    (root / "inner.png").symlink_to("images/a.png")
    (root / "outer.png").symlink_to("../secret.png")
    source = Path("list.json")
    for name in ("images/a.png", "inner.png", "images\\a.png", "images/missing.png"):
        assert find_inside(root, name, source, sealed=sealed) == root / name.replace("\\", "/")
    with pytest.raises(
        UserError, match=r"Path outside its folder: 'outer\.png' in list\.json is a link to .*secret\.png"
    ):
        find_inside(root, "outer.png", source, sealed=sealed)
    for name in ("../secret.png", str(tmp_path / "secret.png"), "images/../../secret.png"):
        with pytest.raises(UserError, match="Path outside its folder"):
            find_inside(root, name, source, sealed=sealed)


def test_linked_folders_are_the_user_s_in_a_dataset_and_nobody_s_in_an_export(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/a.png").touch()
    (tmp_path / "disk/b.png").symlink_to("a.png")
    (tmp_path / "disk/c.png").symlink_to("../secret.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/images").symlink_to(tmp_path / "disk")
    for name in ("images/a.png", "images/b.png"):
        assert find_inside(tmp_path / "set", name, Path("x")) == tmp_path / "set" / name
        with pytest.raises(UserError, match="is a link to"):
            find_inside(tmp_path / "set", name, Path("x"), sealed=True)
    with pytest.raises(UserError, match=r"is a link to .*Put the file itself there, or link its whole folder"):
        find_inside(tmp_path / "set", "images/c.png", Path("x"))


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
