from eval.mmad.score import FIGURES
from eval.mmad.tables import HEADS, render_markdown


def test_a_hostile_name_stays_one_cell() -> None:
    block = dict.fromkeys(FIGURES, 50.0) | {"interval": dict.fromkeys(FIGURES), "questions": 3}
    results = {
        "model": "http://evil/v1/a|b",
        "adapter": "",
        "mode": "generate",
        "setting": "0-shot",
        "answered": 3,
        "questions": 3,
        "failures": {},
        "skipped": {},
        "datasets": {"VisA": block | {"categories": {"can|<b>\n# Owned": block}}},
        "mean": block,
    }
    lines = render_markdown(results).splitlines()
    assert lines[0].startswith(r"**MMAD**, http\://evil/v1/a\|b, mode generate")
    (row,) = [line for line in lines if "Owned" in line]
    assert row.startswith(r"| can\|\<b\> # Owned | 50.0 |")
    assert row.replace(r"\|", "").count("|") == len(HEADS) + 3
