"""The one exception that means "the input is wrong, and here is how to fix it", and what its message may quote."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class UserError(ValueError):
    """Bad input from the user: scripts print its message without a traceback.

    The message says what is wrong, where (file or value), and how to fix it.
    """


def suggest(word: str, names: Iterable[str], *, alike: bool = True) -> str:
    """The end of a message about an unknown name: ` Did you mean X?`; empty where nothing is like it.

    Args:
        word: What was written.
        names: What could have been meant.
        alike: Only names that are written much like the word; False takes them all, three at most.
    """
    found = get_close_matches(word, list(names), n=1, cutoff=0.6) if alike else list(names)[:3]
    return f" Did you mean {' or '.join(found)}?" if found else ""


LONGEST = 240  # characters of a quotation
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 120


def brief(value: Any) -> str:
    """What stands in a file, quoted for a message: cut short however long or nested, control characters escaped."""
    text = _SHORT.repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A text for a terminal or a log: control characters, which could redraw or hide what stands there, are escaped."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
