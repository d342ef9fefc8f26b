import pytest
import yaml

from data.errors import UserError
from data.readers.defect_names import TABLE, join_names, readable


@pytest.mark.parametrize(
    ("dataset", "name", "expected"),
    [
        ("real_iad", "AK", "pit"),
        ("real_iad", "ZW", "contamination"),
        ("vision", "Inclusoes", "inclusion"),
        ("vision", "Rechupe", "shrinkage"),
        ("vision", "defect1", "defect1"),
        ("vision", "0", "0"),
        ("vision", "some_new_name", "some new name"),
        ("unlisted", "bent_wire", "bent wire"),
    ],
)
def test_names(dataset: str, name: str, expected: str) -> None:
    assert readable(dataset, name) == expected


def test_a_closed_section_refuses_other_names() -> None:
    with pytest.raises(UserError, match=r"Unknown defect 'ak' of real_iad\. Known: AK, BX"):
        readable("real_iad", "ak")


def test_every_section_has_a_source_and_plain_names() -> None:
    for section in yaml.safe_load(TABLE.read_text(encoding="utf-8")).values():
        assert section["source"]
        assert isinstance(section["closed"], bool)
        assert all(isinstance(code, str) and isinstance(name, str) for code, name in section["names"].items())


def test_several_names_are_joined_once_each() -> None:
    assert join_names(["scratch", "dent", "scratch"]) == "dent and scratch"
