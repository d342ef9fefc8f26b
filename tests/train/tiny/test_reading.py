import numpy as np
import pytest

from data.tiny.pool import ScenePoolConfig, draw_pool
from train.tiny.reading import SHARES, scene_odds


def test_scenes_without_a_mark_get_their_share() -> None:
    pool = draw_pool(ScenePoolConfig(count=40, crowded_share=0.5), size=96, seed=0)
    odds = scene_odds(pool)
    marked = np.array([bool(facts.marks) for facts in pool.facts])
    assert odds.sum() == pytest.approx(1)
    assert odds[~marked].sum() == pytest.approx(SHARES["clean"])
    assert odds[marked & pool.crowded].sum() == pytest.approx(SHARES["crowded"])


def test_a_pool_without_a_group_gives_its_share_to_the_others() -> None:
    pool = draw_pool(ScenePoolConfig(count=12, crowded_share=0.0), size=96, seed=0)
    odds = scene_odds(pool)
    assert odds.sum() == pytest.approx(1) and (odds >= 0).all()
