import numpy as np
import pytest

from data.errors import UserError
from models.contour import RED
from models.experts.expert import Detection, Gate
from models.velm.draw import (
    PURE_RED,
    ThresholdPolicy,
    VisualPromptConfig,
    VisualPromptKind,
    crop,
    cut_map,
    draw_visual_prompt,
    fit_square,
)

IMAGE = np.full((60, 80, 3), 90, np.uint8)


def detection(top: float = 9.0, pixel: float = 5.0) -> Detection:
    anomaly_map = np.ones((60, 80), np.float32)
    anomaly_map[20:30, 40:60] = top
    return Detection(anomaly_map, top, Gate(4.0, pixel))


@pytest.mark.parametrize(
    ("policy", "value", "pixels"),
    [
        (ThresholdPolicy.gate, 0.5, 200),
        (ThresholdPolicy.share, 0.5, 200),
        (ThresholdPolicy.otsu, 0.5, 200),
        (ThresholdPolicy.value, 8.5, 200),
        (ThresholdPolicy.value, 0.5, 4800),
        (ThresholdPolicy.value, 9.5, 0),
    ],
)
def test_policies(policy: ThresholdPolicy, value: float, pixels: int) -> None:
    assert cut_map(detection(), VisualPromptConfig(policy=policy, value=value)).sum() == pixels


@pytest.mark.parametrize("policy", [ThresholdPolicy.share, ThresholdPolicy.otsu])
def test_a_flat_map_marks_nothing(policy: ThresholdPolicy) -> None:
    flat = Detection(np.ones((60, 80), np.float32), 1.0, Gate(0.5, 0.5))
    assert not cut_map(flat, VisualPromptConfig(policy=policy)).any()
    assert draw_visual_prompt(IMAGE, flat, VisualPromptConfig(policy=policy)) is None


def test_contour_leaves_the_defect_and_the_input_alone() -> None:
    before = IMAGE.copy()
    drawn = draw_visual_prompt(IMAGE, detection(), VisualPromptConfig())
    assert drawn is not None
    red = (drawn == RED).all(-1)
    assert red.any() and not red[20:30, 40:60].any() and red[19, 50]
    assert (drawn[~red] == 90).all() and (before == IMAGE).all()


def test_the_published_outline_is_centred_on_the_edge_of_outer_contours() -> None:
    """An independent drawing: each pixel of the mask's edge, and with 2 pixels its neighbours on both sides."""
    anomaly_map = np.zeros((60, 80), np.float32)
    anomaly_map[20:50, 30:60] = 1
    anomaly_map[30:40, 40:50] = 0.2  # a hole, which gets no line
    anomaly_map[5:10, 5:10] = 0.501  # 127.755 is cut to 127, which is not above it
    drawn = draw_visual_prompt(
        IMAGE, Detection(anomaly_map, 1.0, Gate(4.0, 5.0)), VisualPromptConfig(kind=VisualPromptKind.published)
    )
    assert drawn is not None
    red = (drawn == PURE_RED).all(-1)
    assert (drawn[~red] == 90).all()
    assert red[20, 30:60].all() and red[49, 30:60].all() and red[20:50, 30].all() and red[20:50, 59].all()
    assert red[19, 35:55].all() and red[21, 35:55].all() and not red[17, 35:55].any() and not red[23, 35:55].any()
    assert not red[25:45, 35:55].any() and not red[5:10, 5:10].any()


def test_what_is_above_127_is_outlined_and_0_in_a_mask() -> None:
    anomaly_map = np.zeros((60, 80), np.float32)
    anomaly_map[20:40, 30:60], anomaly_map[50:58, 5:20] = 1, 128 / 255 + 1e-4
    config = VisualPromptConfig(kind=VisualPromptKind.published)
    drawn = draw_visual_prompt(IMAGE, Detection(anomaly_map, 1.0, Gate(4.0, 5.0)), config)
    assert drawn is not None
    assert (drawn[50, 5:20] == PURE_RED).all() and (drawn[20, 30:60] == PURE_RED).all()
    flat = Detection(np.ones((60, 80), np.float32), 1.0, Gate(0.5, 0.5))
    assert draw_visual_prompt(IMAGE, flat, config) is None


def test_published_pictures_are_resized_before_the_line_is_drawn() -> None:
    image, found = fit_square(IMAGE, detection(), 448)
    assert image.shape == (448, 448, 3) and found.anomaly_map.shape == (448, 448) and found.gate == detection().gate


def test_line_width_grows_with_the_image() -> None:
    def width(scale: int) -> int:
        found = detection()
        big = Detection(np.kron(found.anomaly_map, np.ones((scale, scale), np.float32)), 9.0, found.gate)
        image = np.full((60 * scale, 80 * scale, 3), 90, np.uint8)
        drawn = draw_visual_prompt(image, big, VisualPromptConfig(line_width=0.025))
        assert drawn is not None
        return int((drawn[: 20 * scale, 50 * scale] == RED).all(-1).sum())

    assert (width(1), width(4)) == (2, 8)


def test_other_kinds() -> None:
    heat = draw_visual_prompt(IMAGE, detection(), VisualPromptConfig(kind=VisualPromptKind.heat))
    assert heat is not None and heat[25, 50].tolist() != [90] * 3 and heat[0, 0].tolist() == [90] * 3
    part = draw_visual_prompt(IMAGE, detection(), VisualPromptConfig(kind=VisualPromptKind.crop, margin=0.0))
    assert part is not None and part.shape == (20, 20, 3)
    assert draw_visual_prompt(IMAGE, detection(), VisualPromptConfig(kind=VisualPromptKind.none)) is None


def test_crop_stays_inside() -> None:
    mask = np.zeros((60, 80), bool)
    mask[0, 79] = True
    assert crop(IMAGE, mask, 3.0).size > 0


def test_nothing_above_the_threshold() -> None:
    assert draw_visual_prompt(IMAGE, detection(top=4.5), VisualPromptConfig()) is None


@pytest.mark.parametrize(
    "changes", [{"policy": ThresholdPolicy.share, "value": 1.5}, {"line_width": 0.9}, {"min_area": -1}, {"margin": -1}]
)
def test_bad_values(changes: dict) -> None:
    with pytest.raises(UserError, match="visual"):
        VisualPromptConfig(**changes)
