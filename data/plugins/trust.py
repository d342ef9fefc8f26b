"""Which code of the user's own may be imported: what this process was told on its command line, and nothing else.

A command allows every name that stands in its own settings, wherever the user wrote it: on the command line, or in a
file of `configs/` that the command line chooses. A file of a run, of an export or of a fitted expert may name a
plug-in, too, but cannot allow it: `plugins=[package.module:name]`, which every command takes, does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from data.errors import UserError

PART = r"[^\W\d]\w*"
FORM = re.compile(rf"(?P<module>{PART}(?:\.{PART})*):(?P<name>{PART})")
_allowed: set[str] = set()  # for as long as the process lives; never written down


def is_plugin(name: str) -> bool:
    """Whether a name reads `package.module:name`."""
    return FORM.fullmatch(name) is not None


def short_name(name: str) -> str:
    """A plug-in's module without its packages, for a key of the command line; any other name as it is."""
    return name.partition(":")[0].rpartition(".")[2] if is_plugin(name) else name


def allow(settings: Any) -> None:
    """Allows the plug-ins that settings name.

    Args:
        settings: A text, or a dataclass, list or dictionary of such, nested as it may be.
    """
    if isinstance(settings, str):
        if is_plugin(settings):
            _allowed.add(settings)
    elif is_dataclass(settings):
        allow([getattr(settings, field.name) for field in fields(settings)])
    elif isinstance(settings, Mapping):
        allow([*settings, *settings.values()])
    elif isinstance(settings, Iterable):
        for value in settings:
            allow(value)


def allowed_words() -> list[str]:
    """The word that allows another command what this one is allowed; none where that is nothing."""
    return [f"plugins=[{','.join(sorted(_allowed))}]"] if _allowed else []


def check_allowed(name: str) -> None:
    """Refuses a plug-in that the command line does not name.

    Raises:
        UserError: Naming it, and the word that allows it.
    """
    if name not in _allowed:
        raise UserError(
            f"{name} is code outside of this project, which a file names and this command line does not. Read "
            f"it; then allow it by plugins=[{name}] on the command line (in Python: data.plugins.trust.allow)."
        )
