"""Leaving out what is broken, on request: a reader marks what may be skipped, the caller decides whether it is.

By default an error ends the listing. Within `skip_errors` the marked item is left out instead, and listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from data.errors import UserError

Skipped = tuple[str, str]  # (id of the sample or name of the source, reason)
_skipped: ContextVar[list[Skipped] | None] = ContextVar("skipped", default=None)


@contextmanager
def skip_errors() -> Iterator[list[Skipped]]:
    """Within the block, `skippable` leaves out what is broken; yields the list that it adds to."""
    found: list[Skipped] = []
    token = _skipped.set(found)
    try:
        yield found
    finally:
        _skipped.reset(token)


@contextmanager
def skippable(item: str) -> Iterator[None]:
    """Marks the reading of one item: its `UserError` ends the listing, or is listed within `skip_errors`.

    Args:
        item: Id of the sample, or the name of the source.
    """
    try:
        yield
    except UserError as error:
        found = _skipped.get()
        if found is None:
            raise
        found.append((item, str(error)))
