from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from eval.assistant.service import Service
from tests.eval.assistant.redness import MakeAssistant, WritePhoto


@pytest.fixture
def service(make_assistant: MakeAssistant, tmp_path: Path) -> Service:
    return Service(make_assistant(), tmp_path, "ann")


def test_a_row_has_no_path_of_this_machine_and_the_picture_is_the_photos(
    service: Service, write_photo: WritePhoto, tmp_path: Path
) -> None:
    row, picture = service.inspect(str(write_photo("a.png", (240, slice(10, 20), slice(30, 50)))))
    assert str(tmp_path) not in str(row) and row["name"] == "a.png" and picture.shape == (40, 60, 3)
    assert service.inspect(str(write_photo("a.png")), 0.05)[0]["verdict"] == "defect"


def test_what_cannot_be_done_is_said(service: Service, write_photo: WritePhoto, tmp_path: Path) -> None:
    photo = str(write_photo("a.png", (240, slice(10, 20), slice(30, 50))))
    grey, text = (str(tmp_path / name) for name in ("grey.png", "text.png"))
    cv2.imwrite(grey, np.arange(0, 3, dtype=np.uint8).repeat(800).reshape(40, 60))
    Path(text).write_text("no picture")
    for call, message in (
        (lambda: service.inspect(None), "No photo was given"),
        (lambda: service.ask(None, "x"), "No photo was given"),
        (lambda: service.ask(photo, ""), "question is empty"),
        (lambda: service.judge(photo, "redrawn"), "Nothing is drawn"),
        (lambda: service.judge(photo, "accepted", mask=photo), "goes with finding=redrawn, not with accepted"),
        (lambda: service.judge(photo, "redrawn", mask=grey), r"'grey\.png' is no mask: it holds 3 values"),
        (lambda: service.judge(photo, "redrawn", mask=text), r"'text\.png' does not decode"),
        (lambda: service.judge(photo, "wrong_class", None), "Which class is it"),  # type: ignore[arg-type]
        (lambda: service.inspect(photo, "abc"), "threshold='abc' must be a number from 0 to 1"),  # type: ignore[arg-type]
        (lambda: service.inspect(photo, 1e300), r"threshold=1e\+300 must be a number"),
        (lambda: service.inspect(photo, float("nan")), "threshold=nan must be a number"),
        (lambda: service.judge(photo, "good"), "finding='good' must be one of accepted"),
        (lambda: service.export("zip"), "form='zip' must be one of mvtec"),
        (lambda: service.export("coco"), "No judgements in"),
    ):
        with pytest.raises(UserError, match=message) as said:
            call()
        assert str(tmp_path / "grey") not in str(said.value) and str(tmp_path / "text") not in str(said.value)
