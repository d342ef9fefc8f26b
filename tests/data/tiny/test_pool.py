import numpy as np
import pytest

from data.tiny.captions import KINDS
from data.tiny.pool import ScenePool, ScenePoolConfig, cell_kinds, draw_pool


@pytest.fixture(scope="module")
def pool() -> ScenePool:
    return draw_pool(ScenePoolConfig(count=12, crowded_share=0.7), size=96, seed=3)


def test_the_pool_is_deterministic(pool: ScenePool) -> None:
    again = draw_pool(ScenePoolConfig(count=4, crowded_share=0.7), size=96, seed=3)
    np.testing.assert_array_equal(again.images, pool.images[:4])
    assert again.facts == pool.facts[:4]


@pytest.mark.parametrize("turn", range(8))
def test_facts_turn_with_the_image(pool: ScenePool, turn: int) -> None:
    for index in range(len(pool.facts)):
        image, kinds, facts = pool.view(index, turn)
        assert image.shape == (96, 96, 3)
        for mark in facts.marks:
            rows, columns = np.nonzero(kinds == 1 + KINDS.index(mark.kind))
            if sum(other.kind == mark.kind for other in facts.marks) > 1 or not len(rows):
                continue
            x0, y0, x1, y1 = mark.box
            assert abs(columns.min() - x0) <= 2 and abs(columns.max() + 1 - x1) <= 2
            assert abs(rows.min() - y0) <= 2 and abs(rows.max() + 1 - y1) <= 2
            assert mark.centre == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5), abs=1.5)


def test_cells_name_the_kind_that_covers_them() -> None:
    kinds = np.zeros((1, 96, 96), np.uint8)
    kinds[0, 8:16, 0:8] = 3
    kinds[0, 0:1, 0:8] = 2  # an eighth of the first cell
    kinds[0, 95, 95] = 5  # too little to count
    cells = cell_kinds(kinds, 12)
    assert cells[0, 1, 0] == 3
    assert cells[0, 0, 0] == 2
    assert cells.sum() == 5
