import cv2
import numpy as np
import pytest

from data.tiny.pool import ScenePoolConfig, draw_pool
from train.tiny import scenes as module
from train.tiny.scenes import Scenes


def test_what_a_step_sees_depends_on_the_step_alone(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "CHUNK", 3)
    config = ScenePoolConfig(count=8)
    with Scenes(config, count=8, size=96, seed=1) as growing:
        assert len(growing.at(0.0).facts) == 3
        assert len(growing.at(0.2).facts) == 6
        full = growing.at(1.0)
    whole = draw_pool(config, size=96, seed=1)
    np.testing.assert_array_equal(full.images, whole.images)
    assert full.facts == whole.facts


def test_a_pool_may_begin_where_another_ends(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "CHUNK", 3)
    config = ScenePoolConfig(count=8)
    with Scenes(config, count=4, size=96, seed=1, first=4) as further:
        pool = further.at(1.0)
    np.testing.assert_array_equal(pool.images, draw_pool(config, size=96, seed=1).images[4:])


@pytest.mark.timeout(60)
def test_drawing_does_not_wait_for_the_threads_that_opencv_had_before() -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.float32), (31, 31), 5)  # starts them
        with Scenes(ScenePoolConfig(count=2), count=2, size=96, seed=1) as scenes:
            assert len(scenes.at(1.0).facts) == 2
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(before)
