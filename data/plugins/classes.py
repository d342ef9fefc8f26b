"""What a class must have that stands for an expert or a chat back end."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from data.errors import UserError, brief
from data.plugins.load import Plugin

FORM = "package.module:Class"


def check_is_class(plugin: Plugin, setting: str) -> None:
    """Refuses what is no class.

    Args:
        plugin: What was named.
        setting: The setting that named it: `expert`.

    Raises:
        UserError: Naming what it is.
    """
    if not inspect.isclass(plugin.found):
        raise UserError(f"{setting}={plugin.name} is no class but {brief(plugin.found)}. Name the class.")


def check_method(plugin: Plugin, setting: str, method: str, parameters: Sequence[str], why: str = "") -> None:
    """Refuses a class without a method, or with one that cannot be called.

    Args:
        plugin: The class.
        setting: As in `check_is_class`.
        method: Name of the method.
        parameters: What it is called with, beside `self`.
        why: What is said behind the name of a missing one.

    Raises:
        UserError: Naming the method and its parameters.
    """
    function = getattr(plugin.found, method, None)
    shown = f"{method}({', '.join(('self', *parameters))})"
    if not callable(function):
        raise UserError(f"{setting}={plugin.name} lacks {shown}{why}. Add it.")
    try:
        inspect.signature(function).bind(None, *parameters)
    except TypeError as error:
        raise UserError(f"{setting}={plugin.name}: {method}() cannot be called as {shown}: {error}.") from error
