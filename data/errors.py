"""The one exception that means "the input is wrong, and here is how to fix it"."""

from __future__ import annotations

import reprlib
from typing import Any


class UserError(ValueError):
    """Bad input from the user: scripts print its message without a traceback.

    The message says what is wrong, where (file or value), and how to fix it.
    """


_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 120


def brief(value: Any) -> str:
    """What stands in a file, quoted for a message: cut short however long or nested, control characters escaped."""
    return _SHORT.repr(value)
