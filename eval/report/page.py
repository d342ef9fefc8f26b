"""The templates of all pages, and how they are filled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).resolve().parent / "templates"


def page_environment(**filters: Callable[..., str]) -> Environment:
    """An environment in which a name that the facts lack is an error; values are escaped, but in Markdown.

    Args:
        filters: Filters by name.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is None or not name.endswith(".md.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment
