import numpy as np
import pytest

from data.ddqa.regions import REGIONS
from data.factory.catalog import PRODUCTS, Group, categories_of
from data.factory.defects import PAINTERS
from data.factory.piece import FAR_PAIRS, make_anomalous, make_normal


def test_the_catalogue_is_large_enough_and_disjoint() -> None:
    seen, unseen = categories_of(Group.SEEN), categories_of(Group.UNSEEN)
    assert len(seen) >= 12 and len(unseen) >= 6 and not set(seen) & set(unseen)
    assert len(PAINTERS) >= 8
    for group in (seen, unseen):
        assert {defect for name in group for defect in PRODUCTS[name].defects} == set(PAINTERS)
    assert all(set(product.impossible) <= set(PAINTERS) for product in PRODUCTS.values())


@pytest.mark.parametrize("category", PRODUCTS)
def test_the_mask_is_exactly_what_changed(category: str) -> None:
    product = PRODUCTS[category]
    for number, defect in enumerate(product.defects):
        piece = make_anomalous(np.random.default_rng(number), product, defect, 128, extras=number % 3, decoy=False)
        changed = (piece.image != piece.clean).any(axis=2)
        assert piece.mask.any() and not (changed & ~piece.mask).any()
        assert changed[piece.mask].mean() > 0.6
        assert piece.marks[0].mask.sum() == max(mark.mask.sum() for mark in piece.marks)


@pytest.mark.parametrize("category", PRODUCTS)
def test_normal_pieces_vary(category: str) -> None:
    first, second = (make_normal(np.random.default_rng(seed), PRODUCTS[category], 96) for seed in (0, 1))
    assert np.abs(first.image.astype(int) - second.image).mean() > 4
    assert 50 < first.image.mean() < 225 and not first.mask.any()
    again = make_normal(np.random.default_rng(0), PRODUCTS[category], 96)
    assert (again.image == first.image).all()


def test_a_decoy_is_a_far_twin_outside_the_mask() -> None:
    assert len({frozenset(pair) for pair in FAR_PAIRS}) * 2 == len(FAR_PAIRS) == 32
    cells = set()
    for seed in range(24):
        category = list(PRODUCTS)[seed % len(PRODUCTS)]
        defect = PRODUCTS[category].defects[0]
        piece = make_anomalous(np.random.default_rng(seed), PRODUCTS[category], defect, 128, extras=0, decoy=True)
        (decoy,) = piece.decoys
        changed = (piece.image != piece.clean).any(axis=2)
        twin = np.zeros_like(piece.mask)
        twin[decoy.y0 : decoy.y1, decoy.x0 : decoy.x1] = True
        assert (changed & twin).any() and not (piece.mask & twin).any()
        assert not (changed & ~twin & ~piece.mask).any()
        own = REGIONS.index(piece.marks[0].region)
        center = 3 * int((decoy.y0 + decoy.y1) * 1.5 / 128) + int((decoy.x0 + decoy.x1) * 1.5 / 128)
        assert max(abs(own // 3 - center // 3), abs(own % 3 - center % 3)) == 2
        cells.add(own)
    assert len(cells) >= 6
