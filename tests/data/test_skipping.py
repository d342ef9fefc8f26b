import pytest

from data.errors import UserError
from data.skipping import skip_errors, skippable


def test_an_error_is_listed_only_within_the_block() -> None:
    with skip_errors() as skipped:
        with skippable("a"):
            raise UserError("broken")
        with skippable("b"):
            pass
    assert skipped == [("a", "broken")]
    with pytest.raises(UserError, match="broken"), skippable("a"):
        raise UserError("broken")


def test_programming_errors_are_never_skipped() -> None:
    with pytest.raises(KeyError), skip_errors(), skippable("a"):
        raise KeyError("x")
