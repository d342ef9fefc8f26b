import pytest

from data.errors import UserError
from eval.assistant.config import AppConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 70000}, "port=70000 is no port"),
        ({"waiting": 0}, "waiting=0"),
        ({"run": ""}, "Give one of run=RUN"),
        ({"threshold": 2.0}, "threshold=2.0 is outside"),
        ({"min_area": -1.0}, "min_area=-1.0"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        AppConfig(**{"run": "r", **settings}).check()


def test_an_inspection_is_told_the_same() -> None:
    told = AppConfig(export="e", doubt=0.25, threshold=0.4, device="cpu").inspection()
    assert (told.export, told.doubt, told.threshold, told.device) == ("e", 0.25, 0.4, "cpu")
    AppConfig(export="e").check()
