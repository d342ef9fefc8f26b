from collections.abc import Sequence

import pytest

from data.parallel import map_chunks


def square(items: Sequence[int]) -> list[int]:
    return [item * item for item in items]


def fail_at_seven(items: Sequence[int]) -> list[int]:
    if 7 in items:
        raise ValueError("seven")
    return list(items)


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    items = list(range(101))
    assert list(map_chunks(square, items, workers=workers, chunk=4)) == [item * item for item in items]
    assert list(map_chunks(square, [], workers=workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_after_the_results_before_it(workers: int) -> None:
    seen = []
    with pytest.raises(ValueError, match="seven"):
        for result in map_chunks(fail_at_seven, list(range(40)), workers=workers, chunk=2):
            seen.append(result)
    assert seen == [0, 1, 2, 3, 4, 5]
