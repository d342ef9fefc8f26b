"""The one exception that means "the input is wrong, and here is how to fix it", and what its message may quote."""

from __future__ import annotations

import errno
import os
import re
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
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


class FullDiskError(UserError):
    """No room to write: nothing is wrong with the input, and with room the same command goes on."""


FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
PLACE = {
    errno.EFBIG: "the file is larger than its file system or the limit of file sizes (ulimit -f) allows",
    errno.EROFS: "the file system is read-only",
}
RIGHTS = {errno.EACCES: "permission denied", errno.EPERM: "permission denied"}
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written|PytorchStreamWriter failed|file write failed")


def storage_error(error: BaseException, path: Path | None = None) -> UserError | None:
    """What a failed write means to the user; None if `error` is something else, or says so already.

    Libraries that write in native code tell the reason in the text alone, and numpy and torch not even there: what they
    say then is taken for a full disk.

    Args:
        error: What was raised.
        path: The file that was written; None where nobody knows, and the error may name it.
    """
    if isinstance(error, UserError) or not isinstance(error, Exception):
        return None
    name = path if path is not None else getattr(error, "filename", None)
    reasons = FULL | PLACE | (RIGHTS if name else {})
    code = getattr(error, "errno", None)
    if code is None:
        code = next((known for known in reasons if os.strerror(known) in str(error)), None)
    if code is None and SHORT_WRITE.search(str(error)):
        code = errno.ENOSPC
    if code not in reasons:
        return None
    what = f" {name}: {reasons[code]}" if name else f": {reasons[code]} ({error})"
    if code in FULL:
        return FullDiskError(f"Cannot write{what}. Free some space and run the same command again to go on.")
    return UserError(f"Cannot {'use' if path is None else 'write'}{what}. Choose another place, or change its rights.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that writes to `path` and nothing else.

    Raises:
        UserError: Naming the path, where its disk is full or it cannot be written; see `storage_error`.
    """
    try:
        yield
    except Exception as error:
        if (told := storage_error(error, path)) is not None:
            raise told from error
        raise


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
