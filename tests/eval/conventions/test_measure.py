from typing import Any

import pytest

from data.errors import UserError
from eval.conventions.measure import MeasureConfig
from eval.conventions.named import ImageScore, named_conventions


@pytest.mark.parametrize("name", named_conventions())
def test_a_whole_convention_is_called_by_its_name(name: str) -> None:
    plain = MeasureConfig().measure()
    values = {key: getattr(named_conventions()[name], key) for key in plain}
    config = MeasureConfig(convention=name, **values)
    config.check_measure()
    assert config.shown_convention() == name


def test_what_was_changed_is_said() -> None:
    config = MeasureConfig(convention="saa", resolution="256", image_score=ImageScore.maximum)
    assert config.shown_convention() == "saa with resolution=256"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"convention": "theirs"}, "Choose convention= from ours, ader"),
        ({"smoothing": -1.0}, "smoothing=-1.0"),
        ({"crop": 392}, "crop=392"),
        ({"input_size": 200, "crop": 392}, "crop=392"),
        ({"input_size": 0}, "input_size=0"),
        ({"score_fraction": 0.0}, "score_fraction"),
        ({"resolution": "large"}, "neither native nor"),
    ],
)
def test_bad_values(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MeasureConfig(**changes).check_measure()
