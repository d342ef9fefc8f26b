"""The one exception that means "the input is wrong, and here is how to fix it"."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input from the user: scripts print its message without a traceback.

    The message says what is wrong, where (file or value), and how to fix it.
    """
