from pathlib import Path

import pytest

from data.errors import UserError
from data.source import DataConfig
from models.eddm.describe import DescribeConfig, Only
from scripts.describe import list_drawn


def configure(**changes: object) -> DescribeConfig:
    values = {"preset": "paper", "run": "r", "data": DataConfig(train=[], zero_shot=[], name="real"), **changes}
    return DescribeConfig(only=Only.drawn, **values)  # type: ignore[arg-type]


def test_only_what_the_training_draws(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIAD_DATA", str(real_data / "datasets"))
    short = list_drawn(configure(part="train", mdlm={"loop": {"steps": 3}}))
    longer = list_drawn(configure(part="train", mdlm={"loop": {"steps": 4}}))
    assert (len(short), len(longer)) == (24, 32)  # eight images a step, each seen once
    assert short < longer
    assert list_drawn(configure(part="train", mdlm={"seed": 1, "loop": {"steps": 3}})) != short


@pytest.mark.parametrize("changes", [{"part": "zero_shot"}, {"part": "train", "folder": "f"}])
def test_only_the_training_side_is_drawn_from(changes: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"part=train and data= alone"):
        list_drawn(configure(**changes))
