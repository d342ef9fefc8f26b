from pathlib import Path

import pytest

from data.errors import UserError
from data.factory.sheet import COLUMNS, NAMES_WIDTH, SheetConfig, write_sheet
from data.sample import load_image


def make_config(path: Path, categories: list[str]) -> SheetConfig:
    return SheetConfig(out=str(path), categories=categories, seed=0, size=96, tile=48, contours=True)


def test_the_sheet_shows_every_column(tmp_path: Path) -> None:
    assert write_sheet(make_config(tmp_path / "new" / "sheet.png", ["gear", "wire_grid"])) == 2
    sheet = load_image(tmp_path / "new" / "sheet.png")
    assert sheet.shape[1] == NAMES_WIDTH + 48 * len(COLUMNS)
    hole = NAMES_WIDTH + 48 * COLUMNS.index("hole")
    assert (sheet[-48:, hole : hole + 48] == 255).all(), "a wire grid has no holes to show"
    assert not (sheet[-96:-48, hole : hole + 48] == 255).all()


def test_unknown_category(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sprocket"):
        write_sheet(make_config(tmp_path / "sheet.png", ["sprocket"]))
