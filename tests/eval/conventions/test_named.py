from pathlib import Path

import pytest
import yaml

from eval.conventions.named import CONVENTIONS, Convention

FOLDER = Path(__file__).resolve().parents[3] / "configs" / "convention"


def test_each_convention_is_a_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(CONVENTIONS)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_the_file_sets_what_the_code_says(name: str) -> None:
    values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert values.pop("convention") == name
    assert Convention(**values) == CONVENTIONS[name]
