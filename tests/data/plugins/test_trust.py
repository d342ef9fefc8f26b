from dataclasses import dataclass, field

import pytest

from data.errors import UserError
from data.plugins import trust
from data.source import DataConfig, Source


@pytest.mark.parametrize("name", ["pass_fail:read", "my.own.readers:read_2", "größe:lies"])
def test_the_form_of_a_plugin(name: str) -> None:
    assert trust.is_plugin(name)


@pytest.mark.parametrize("name", ["visa", "a.b", ":read", "a:", "a/b.py:read", "a:b:c", "1a:b", "http://a", "a: b", ""])
def test_what_is_none(name: str) -> None:
    assert not trust.is_plugin(name)


@dataclass
class Settings:
    deep: dict[str, list[str]] = field(default_factory=dict)
    number: int | None = 3


def test_only_what_settings_name_is_allowed() -> None:
    with pytest.raises(UserError, match=r"my\.own:read is code outside .* plugins=\[my\.own:read\]"):
        trust.check_allowed("my.own:read")
    trust.allow(Settings({"x": ["other:thing", "visa"]}))
    trust.check_allowed("other:thing")
    with pytest.raises(UserError):
        trust.check_allowed("my.own:read")
    source = Source(reader="my.own:read", root="/x")
    trust.allow(DataConfig(train=[source], zero_shot=[]))
    trust.check_allowed("my.own:read")


def test_another_command_is_told_the_same() -> None:
    assert trust.allowed_words() == []
    trust.allow(["b:x", "a:y", "bsdata"])
    assert trust.allowed_words() == ["plugins=[a:y,b:x]"]


def test_a_short_name_is_one_of_a_key() -> None:
    assert trust.short_name("my.own.readers:read") == "readers"
    assert trust.short_name("bsdata") == "bsdata"
