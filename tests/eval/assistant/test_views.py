import numpy as np
import pytest

from eval.assistant.uploads import take_uploads
from eval.assistant.views import View, draw_view, fit, region_mask
from eval.inspection.inspector import Inspected
from models.contour import BLUE, RED
from tests.eval.assistant.redness import MakeAssistant, WritePhoto


@pytest.fixture
def found(make_assistant: MakeAssistant, write_photo: WritePhoto) -> tuple[np.ndarray, Inspected]:
    """A photo with a large and a small defect, and what is decided about it."""
    photo = write_photo("a.png", (240, slice(10, 20), slice(30, 50)), (250, slice(30, 34), slice(5, 9)))
    assistant = make_assistant()
    (seen,) = next(assistant.inspect(take_uploads([photo], assistant.bounds).uploads))
    image = np.full((40, 60, 3), 30, np.uint8)
    return image, assistant.decide(seen, 0.5)


def test_each_view_shows_its_own(found: tuple[np.ndarray, Inspected]) -> None:
    image, decided = found
    plain = draw_view(image, decided, View.image, opacity=1.0, top=1.0)
    assert np.array_equal(plain, image)
    contour = draw_view(image, decided, View.contour, opacity=1.0, top=1.0)
    assert (
        tuple(contour[9, 40]) == RED and tuple(contour[29, 6]) == RED and np.array_equal(contour[15, 40], image[15, 40])
    )
    half = draw_view(image, decided, View.contour, opacity=0.5, top=1.0)
    assert abs(int(half[9, 40, 0]) - (RED[0] + 30) // 2) <= 1
    assert np.array_equal(draw_view(image, decided, View.contour, opacity=0.0, top=1.0), image)
    heat = draw_view(image, decided, View.heat, opacity=1.0, top=1.0)
    assert heat[15, 40].sum() > heat[2, 2].sum() + 200
    assert np.array_equal(draw_view(image, decided, View.heat, opacity=0.0, top=1.0), image)


def test_a_chosen_region_is_outlined_alone_and_in_blue(found: tuple[np.ndarray, Inspected]) -> None:
    image, decided = found
    assert decided.mask is not None and region_mask(decided.mask, 1).sum() == decided.row.regions[1].area == 16
    drawn = draw_view(image, decided, View.image, opacity=1.0, top=1.0, chosen=1)
    assert tuple(drawn[29, 6]) == BLUE and np.array_equal(drawn[9, 40], image[9, 40])


def test_a_large_photo_is_shown_smaller_and_a_tiny_defect_stays_visible(
    make_assistant: MakeAssistant, write_photo: WritePhoto
) -> None:
    photo = write_photo("a.png", (240, slice(500, 502), slice(1500, 1502)), size=(1000, 2560))
    assistant = make_assistant(min_area=0.0)
    (seen,) = next(assistant.inspect(take_uploads([photo], assistant.bounds).uploads))
    image = fit(np.full((1000, 2560, 3), 30, np.uint8))
    assert image.shape == (500, 1280, 3)
    drawn = draw_view(image, assistant.decide(seen, 0.5), View.contour, opacity=1.0, top=1.0)
    assert drawn.shape == image.shape and (drawn == RED).all(-1).any()
