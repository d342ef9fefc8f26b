"""The templates of all pages, and how they are filled."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_eval_context
from jinja2.nodes import EvalContext
from markupsafe import Markup

TEMPLATES = Path(__file__).resolve().parent / "templates"
MARKS = re.compile(  # code, tables, tags, links, emphasis, headings, and what becomes a link by itself
    r"[\\`|<>\[\]*&~@]|(?<!\w)_|_(?!\w)|^#|(?<=http):(?=//)|(?<=https):(?=//)|(?<=ftp):(?=//)|(?<=www)\.", re.IGNORECASE
)


def page_environment(**filters: Callable[..., str]) -> Environment:
    """An environment in which a name that the facts lack is an error; values are escaped, for HTML or for Markdown.

    What a template of Markdown writes itself, such as the bars between several cells, is `safe`.

    Args:
        filters: Filters by name.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is None or not name.endswith(".md.j2"),
        finalize=_finish,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment


def escape_markdown(text: str) -> str:
    """A text that Markdown shows as it is, on one line: no table, tag, link, code or heading begins in it."""
    return MARKS.sub(r"\\\g<0>", " ".join(text.split()))


@pass_eval_context
def _finish(context: EvalContext, value: Any) -> Any:
    """Jinja escapes for HTML by itself."""
    if context.autoescape or isinstance(value, Markup) or not isinstance(value, str):
        return value
    return escape_markdown(value)
