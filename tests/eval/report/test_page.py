import pytest
from jinja2 import DictLoader, UndefinedError

from eval.report.page import TEMPLATES, page_environment


def test_values_are_escaped_but_in_markdown() -> None:
    assert page_environment().from_string("{{ x }}").render(x="<b>") == "&lt;b&gt;"
    for suffix, shown in (("html", "&lt;b&gt;"), ("md", "<b>")):
        environment = page_environment().overlay(loader=DictLoader({f"page.{suffix}.j2": "{{ x }}"}))
        assert environment.get_template(f"page.{suffix}.j2").render(x="<b>") == shown


def test_filters_have_their_names_and_a_missing_fact_is_an_error() -> None:
    environment = page_environment(loud=str.upper)
    assert environment.from_string("{{ x|loud }}").render(x="a") == "A"
    with pytest.raises(UndefinedError):
        environment.from_string("{{ missing }}").render()


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.j2")), ids=lambda path: path.name)
def test_every_template_parses(path) -> None:  # type: ignore[no-untyped-def]
    page_environment().parse(path.read_text(encoding="utf-8"))
