from pathlib import Path

import pytest
import yaml

from data.errors import UserError
from data.readers import defect_names
from data.readers.defect_names import JOINT, TABLE, join_names, readable
from data.readers.registry import READERS


def test_listed_names() -> None:
    assert readable("visa", " Foreign Particals on Candle ") == "foreign particles on the candle"
    assert readable("goods_ad", "straw_missing") == "missing straw"
    assert readable("mvtec_loco", "logical_anomalies", "pushpins") == "logical anomaly"


@pytest.mark.parametrize(
    ("dataset", "name", "expected"),
    [
        ("real_iad", "AK", "pit"),
        ("real_iad", "zw", "contamination"),
        ("vision", "Inclusoes", "inclusion"),
        ("vision", "defect1", "defect1"),
        ("vision", "0", "0"),
        ("vision", "some_new_name", "some new name"),
    ],
)
def test_codes_and_foreign_words(dataset: str, name: str, expected: str) -> None:
    assert readable(dataset, name) == expected


def test_open_sections_keep_unlisted_names() -> None:
    assert readable("mvtec_ad", "broken_large", "bottle") == "broken large"
    assert readable("mvtec_3d", "combined") == "combined"


def test_closed_sections_refuse_unlisted_names() -> None:
    with pytest.raises(UserError, match=r"Unknown defect 'dent' of candle in visa\. Known: bad, .*defect_names\.yaml"):
        readable("visa", "dent", "candle")
    with pytest.raises(UserError, match=r"Unknown defect 'XX' in real_iad, found in list\.json\. Known: ak, bx"):
        readable("real_iad", "XX", source=Path("list.json"))


def test_several_names_are_joined_once_each() -> None:
    assert join_names(["scratch", "dent", "scratch"]) == "dent and scratch"


def test_names_of_a_category_go_first(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    table = tmp_path / "names.yaml"
    table.write_text("x: {source: s, closed: true, names: {1: one}, categories: {A: {1: uno, b: due}}}")
    monkeypatch.setattr(defect_names, "TABLE", table)
    defect_names._sections.cache_clear()
    try:
        assert [readable("x", "1"), readable("x", "1", "A"), readable("x", "B", "A")] == ["one", "uno", "due"]
        with pytest.raises(UserError, match=r"Unknown defect 'b' of C in x\. Known: 1\."):
            readable("x", "b", "C")
    finally:
        defect_names._sections.cache_clear()


def test_the_table_is_well_formed() -> None:
    for dataset, section in yaml.safe_load(TABLE.read_text(encoding="utf-8")).items():
        assert dataset in READERS
        assert section.keys() <= {"source", "closed", "names", "categories"}
        assert section["source"] and isinstance(section["closed"], bool)
        for names in (section.get("names", {}), *section.get("categories", {}).values()):
            for key, name in names.items():
                assert isinstance(key, str), f"quote {key!r} of {dataset}"
                assert name == name.strip().lower() and name and "," not in name and "_" not in name
                assert JOINT.strip() not in name.split(), f"a part of {name!r} cannot be told from a joined name"
