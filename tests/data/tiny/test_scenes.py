import numpy as np

from data.ddqa.regions import REGIONS
from data.factory.defects import PAINTERS
from data.tiny.scenes import CLEAN_SHARE, COLOURS, PATTERNS, SHAPES, make_scene


def test_scenes_are_deterministic_and_varied() -> None:
    scenes = [make_scene(np.random.default_rng([0, index])) for index in range(200)]
    again = make_scene(np.random.default_rng([0, 7]))
    assert (again.image == scenes[7].image).all() and len(again.marks) == len(scenes[7].marks)
    assert {scene.colour for scene in scenes} == set(COLOURS)
    assert {scene.pattern for scene in scenes} == set(PATTERNS)
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
