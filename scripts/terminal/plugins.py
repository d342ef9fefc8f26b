"""The word that every command takes beside its settings: `plugins=[package.module:name]`, code that it may import."""

from __future__ import annotations

import re

from data.errors import UserError
from data.plugins.trust import allow, is_plugin

WORD = "plugins="


def take_plugins(words: list[str]) -> list[str]:
    """Allows what `plugins=[…]` names; returns the other words of a command line.

    Raises:
        UserError: If it names something else than a plug-in.
    """
    for word in words:
        names = word.removeprefix(WORD).strip("[]") if word.startswith(WORD) else ""
        for name in filter(None, re.split(r"[,\s]+", names)):
            if not is_plugin(name):
                raise UserError(f"{word}: {name} is not package.module:name. Write plugins=[package.module:name].")
            allow(name)
    return [word for word in words if not word.startswith(WORD)]
