"""The templates of all pages, and how they are filled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).resolve().parent / "templates"


def page_environment(*, escape: bool = True, **filters: Callable[..., str]) -> Environment:
    """An environment in which a name that the facts lack is an error.

    Args:
        escape: Whether values are escaped for HTML; Markdown wants them as they are.
        filters: Filters by name.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment
