import base64

import cv2
import numpy as np
import pytest

from data.errors import UserError
from eval.assistant.drawing import HEAD, draw_canvas, read_drawing


def sent(layer: np.ndarray) -> str:
    return HEAD + base64.b64encode(cv2.imencode(".png", layer)[1].tobytes()).decode()


def test_what_is_opaque_was_drawn_and_comes_at_the_photos_size() -> None:
    layer = np.zeros((20, 30, 4), np.uint8)
    layer[5:10, 10:20] = (40, 30, 230, 255)
    layer[15, 15] = (40, 30, 230, 60)  # the soft edge of a stroke
    mask = read_drawing(sent(layer), (40, 60))
    assert mask.shape == (40, 60) and mask.sum() == 200 and mask[10:20, 20:40].all()


@pytest.mark.parametrize(
    "text", ["", "data:image/jpeg;base64,AAAA", HEAD + "no base64!", HEAD + "AAAA", sent(np.zeros((4, 4, 3), np.uint8))]
)
def test_what_is_no_drawing_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="The drawing did not arrive"):
        read_drawing(text, (4, 4))


def test_the_canvas_holds_the_photo_and_what_was_drawn_before() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:20, 20:40] = True
    page = draw_canvas(np.full((20, 30, 3), 90, np.uint8), mask)
    assert "<canvas width='30' height='20'>" in page and "http" not in page
    before = page.split("class='before'")[1].split("src='")[1].split("'")[0]
    assert np.array_equal(read_drawing(before, (40, 60)), mask)
