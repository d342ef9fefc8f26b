import pytest

from data.errors import UserError
from data.plugins.trust import allowed_words
from scripts.terminal.plugins import take_plugins


@pytest.mark.parametrize(
    "word", ["plugins=[later:read,last:Class]", "plugins=later:read,last:Class", "plugins=[later:read, last:Class]"]
)
def test_what_it_names_is_allowed_and_the_other_words_stay(word: str) -> None:
    assert take_plugins(["run=r", word, "out=o"]) == ["run=r", "out=o"]
    assert allowed_words() == ["plugins=[last:Class,later:read]"]


@pytest.mark.parametrize("name", ["own.py", "visa", "a/b:c"])
def test_what_is_no_plugin_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"plugins=\[x:y,{name}\]: {name} is not package\.module:name"):
        take_plugins([f"plugins=[x:y,{name}]"])
