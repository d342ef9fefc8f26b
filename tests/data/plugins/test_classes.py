"""A class of the user's own is told what it lacks."""

from collections.abc import Callable
from typing import Any

import pytest

from data.errors import UserError
from data.plugins.classes import check_is_class, check_method
from data.plugins.load import Plugin


class Mine:
    def score(self, images: object) -> None: ...


def plugin(found: Any) -> Plugin:
    return Plugin("mine:Mine", found, "0")


def test_what_fits_passes() -> None:
    check_is_class(plugin(Mine), "expert")
    check_method(plugin(Mine), "expert", "score", ["images"])


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_is_class(plugin(print), "expert"), "expert=mine:Mine is no class but .*Name the class"),
        (lambda: check_method(plugin(Mine), "b", "chat", ["x"], ", as all"), r"lacks chat\(self, x\), as all\. Add it"),
        (lambda: check_method(plugin(Mine), "b", "score", ["a", "b"]), r"b=mine:Mine: score\(\) cannot be called as"),
    ],
)
def test_what_it_lacks_is_named(check: Callable[[], None], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check()
