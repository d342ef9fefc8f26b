import pytest
from jinja2 import DictLoader, UndefinedError

from eval.report.page import TEMPLATES, escape_markdown, page_environment


def test_values_are_escaped_for_html_and_for_markdown() -> None:
    assert page_environment().from_string("{{ x }}").render(x="<b>") == "&lt;b&gt;"
    for suffix, shown in (("html", "&lt;b&gt;"), ("md", r"\<b\>")):
        environment = page_environment().overlay(loader=DictLoader({f"page.{suffix}.j2": "{{ x }}"}))
        assert environment.get_template(f"page.{suffix}.j2").render(x="<b>") == shown
    environment = page_environment().overlay(
        loader=DictLoader({"a.md.j2": "| {{ ['a', 'b']|join(' | ')|safe }} | {{ 1.5 }} |"})
    )
    assert environment.get_template("a.md.j2").render() == "| a | b | 1.5 |"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a | b", r"a \| b"),
        ("`rm`", r"\`rm\`"),
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)\>"),
        ("[click](javascript:x)", r"\[click\](javascript:x)"),
        ("![x](http://evil/a.png)", r"!\[x\](http\://evil/a.png)"),
        ("see https://evil or WWW.evil.com", r"see https\://evil or WWW\.evil.com"),
        ("me@evil.com", r"me\@evil.com"),
        ("a\n\n# Owned\r\u2028| x |", r"a # Owned \| x \|"),
        ("# Owned", r"\# Owned"),
        ("**bold** _slanted_ ~~gone~~", r"\*\*bold\*\* \_slanted\_ \~\~gone\~\~"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
        ("back\\slash\\|", r"back\\slash\\\|"),
        ("segmentation_with_eddm, AD/cable-1 (3 %)", "segmentation_with_eddm, AD/cable-1 (3 %)"),
        ("−1.5 +2.0 http: 3", "−1.5 +2.0 http: 3"),
    ],
)
def test_markdown_shows_a_name_as_it_is(name: str, written: str) -> None:
    assert escape_markdown(name) == written


def test_filters_have_their_names_and_a_missing_fact_is_an_error() -> None:
    environment = page_environment(loud=str.upper)
    assert environment.from_string("{{ x|loud }}").render(x="a") == "A"
    with pytest.raises(UndefinedError):
        environment.from_string("{{ missing }}").render()


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.j2")), ids=lambda path: path.name)
def test_every_template_parses(path) -> None:  # type: ignore[no-untyped-def]
    page_environment().parse(path.read_text(encoding="utf-8"))


def test_a_hostile_category_stays_one_cell_of_the_report() -> None:
    name = "nut|<b>`x`\n# Owned"
    row = {"images": 1, "pixel_auroc": 50.0}
    facts = {
        "name": "zero-shot",
        "images": {"total": 2, "normal": 1},
        "convention": "ours",
        "resolution": "native",
        "engine": "exact",
        "categories": {name: row},
        "mean": row,
        "notes": ["see [this](http://evil)"],
        "undefined": {name: {"pixel": "no | defect"}},
    }
    environment = page_environment(figure=lambda value, digits=1: f"{value:.{digits}f}")
    text = environment.get_template("segmentation.md.j2").render(facts=facts, columns={"pixel_auroc": "Pixel AUROC"})
    assert r"| nut\|\<b\>\`x\` # Owned | ours | 1 | 50.00 |" in text
    assert "| Category | Convention | Images | Pixel AUROC |\n|---|---|---:|---:|\n" in text
    assert r"- see \[this\](http\://evil)" in text and r"no \| defect" in text
    assert not [line for line in text.splitlines() if line.startswith("# Owned")]
