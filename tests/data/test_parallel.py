import threading
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pytest

from data.parallel import AHEAD, Ahead, map_chunks, map_threads


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


def blur(items: Sequence[int]) -> list[int]:
    return [int(cv2.blur(np.full((64, 64), item, np.uint8), (3, 3)).max()) for item in items]


def test_workers_do_not_wait_for_the_threads_that_opencv_had_before() -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.float32), (31, 31), 5)  # starts them
        assert list(map_chunks(blur, list(range(40)), workers=2, chunk=4)) == list(range(40))
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_keep_the_order_and_stay_a_few_items_ahead(workers: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    found = map_threads(lambda number: number * number, items(), workers=workers)
    assert [next(found) for _ in range(3)] == [0, 1, 4]
    assert len(taken) <= AHEAD * workers + 3
    assert [*found] == [number * number for number in range(3, 100)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_taking_an_item_comes_after_the_results_before_it(error: type[BaseException]) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise error

    seen = []
    with pytest.raises(error):
        for number in map_threads(lambda number: number, items(), workers=3):
            seen.append(number)
    assert seen == [0, 1, 2, 3, 4]


def test_an_error_in_a_thread_comes_in_its_place_and_threads_of_opencv_come_back() -> None:
    before, seen = cv2.getNumThreads(), []

    def fail(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    with pytest.raises(ValueError, match="three"):
        for number in map_threads(fail, range(9), workers=2):
            seen.append(number)
    assert seen == [0, 1, 2] and cv2.getNumThreads() == before


def test_what_is_expected_is_made_once_and_ahead() -> None:
    made: list[int] = []
    gate = threading.Event()

    def make(number: int) -> int:
        assert gate.wait(10)
        made.append(number)
        if number == 3:
            raise ValueError("three")
        return number * number

    ahead = Ahead(make, workers=1)
    ahead.expect([1, 2])
    ahead.expect([2, 3])  # while those before are waited for
    gate.set()
    assert [ahead.take(number) for number in (1, 2, 5)] == [1, 4, 25]
    with pytest.raises(ValueError, match="three"):
        ahead.take(3)
    assert sorted(made) == [1, 2, 3, 5]
    assert ahead.take(1) == 1 and made.count(1) == 2, "nothing is kept once it was taken"
    ahead.expect([7])
    ahead.drop(7)
    ahead.drop(8)  # was not expected
    assert not ahead._waiting, "nothing is kept once it was dropped"
