import cv2
import numpy as np

from data.ddqa.regions import REGIONS
from data.factory.defects import PAINTERS
from data.tiny.scenes import CLEAN_SHARE, COLOURS, DRAWN, ROUGH, SHAPES, make_scene


def test_scenes_are_deterministic_and_varied() -> None:
    scenes = [make_scene(np.random.default_rng([0, index])) for index in range(200)]
    again = make_scene(np.random.default_rng([0, 7]))
    assert (again.image == scenes[7].image).all() and len(again.marks) == len(scenes[7].marks)
    assert {scene.colour for scene in scenes} == set(COLOURS)
    assert {scene.pattern for scene in scenes} == set(DRAWN)
    assert {scene.shape for scene in scenes} == {None, *SHAPES}
    assert abs(np.mean([not scene.marks for scene in scenes]) - CLEAN_SHARE) < 0.12
    marks = [mark for scene in scenes for mark in scene.marks]
    assert {mark.defect for mark in marks} == set(PAINTERS)
    assert {mark.region for mark in marks} == set(REGIONS)
    assert {len(scene.marks) for scene in scenes} == {0, 1, 2, 3}


def test_marks_are_apart_and_inside_their_boxes() -> None:
    for index in range(60):
        scene = make_scene(np.random.default_rng([1, index]), 96)
        assert scene.image.shape == (96, 96, 3) and scene.image.dtype == np.uint8
        total = np.zeros((96, 96), int)
        for mark in scene.marks:
            rows, columns = np.nonzero(mark.mask)
            assert tuple(mark.box) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            total += mark.mask
        assert total.max() <= 1
        assert len({mark.region for mark in scene.marks}) == len(scene.marks)


def test_wild_scenes_show_photographed_textures_and_call_grey_what_is_grey() -> None:
    scenes = [make_scene(np.random.default_rng([2, index]), 64, wild=1.0) for index in range(120)]
    assert ROUGH in {scene.pattern for scene in scenes}
    grey = [scene for scene in scenes if cv2.cvtColor(scene.image, cv2.COLOR_RGB2HSV)[..., 1].mean() < 12]
    assert len(grey) > 10
    assert [scene.colour for scene in grey].count("grey") > 0.5 * len(grey)  # noise and dark scenes blur the rest
    usual = make_scene(np.random.default_rng([2, 3]), 64)
    np.testing.assert_array_equal(make_scene(np.random.default_rng([2, 3]), 64, wild=0.0).image, usual.image)
