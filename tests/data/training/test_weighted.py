from collections import Counter

import pytest

from data.errors import UserError
from data.training.batches import MixedDataset, Part, StepBatches
from data.training.weighted import WeightedDataset, _slots, check_weights


class Numbers:
    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size

    def __len__(self) -> int:
        return self.size

    def get(self, epoch: int, index: int) -> tuple[str, int, int]:
        return self.name, epoch, index


def make(seed: int = 0) -> WeightedDataset:
    return WeightedDataset([Numbers("large", 90), Numbers("small", 7), Numbers("one", 3)], [5, 4, 1], seed=seed)


def test_shares_are_the_weights_and_items_come_equally_often() -> None:
    dataset = make()
    assert len(dataset) == 100
    drawn = [dataset.get(epoch, index) for epoch in range(7) for index in range(100)]
    assert Counter(name for name, _, _ in drawn) == {"large": 350, "small": 280, "one": 70}
    for name, size in (("large", 90), ("small", 7), ("one", 3)):
        items = Counter((index) for found, _, index in drawn if found == name)
        assert len(items) == size
        assert max(items.values()) - min(items.values()) <= 1
        assert len({(epoch, index) for found, epoch, index in drawn if found == name}) == sum(items.values())


def test_any_step_can_be_the_first_one() -> None:
    def items(start: int, seed: int = 0) -> list:
        dataset = MixedDataset([Part(make(seed), 4)])
        batches = StepBatches(dataset.parts, seed=seed, start=start, stop=60)
        return [[dataset[draw] for draw in batch] for batch in batches]

    assert items(0)[37:] == items(37)
    assert items(0) != items(0, seed=1)


@pytest.mark.parametrize(
    ("weights", "slots"),
    [
        ([1, 1, 1], [3, 3, 2]),
        ([1e-6, 1, 1e6], [1, 1, 6]),
        ([0.2, 0.3, 0.5], [2, 2, 4]),
        ([0.15, 0.35, 0.5], [1, 3, 4]),  # 1.2, 2.8 and 4: the largest remainder is rounded up
        ([1, 1, 2], [2, 2, 4]),
    ],
)
def test_every_slot_is_some_datasets(weights: list[float], slots: list[int]) -> None:
    dataset = WeightedDataset([Numbers("a", 5), Numbers("b", 1), Numbers("c", 2)], weights, seed=0)
    drawn = Counter(dataset.get(0, index)[0] for index in range(len(dataset)))
    assert [drawn[name] for name in "abc"] == slots == _slots(8, weights).tolist()


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"a": 1}, r"No sampling weight for \['b'\]"), ({"a": 1, "b": 1, "c": 1}, "'c'"), ({"a": 0, "b": 1}, "'a' is 0")],
)
def test_weights_are_checked(weights: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_weights(weights, {"a", "b"})
