import pytest

from data.errors import UserError
from data.training.batches import MixedDataset, Part, StepBatches


class Numbers:
    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def get(self, epoch: int, index: int) -> tuple[int, int]:
        return epoch, index


def draws(start: int, stop: int, seed: int = 0) -> list:
    return list(StepBatches([Part(Numbers(7), 3), Part(Numbers(4), 1)], seed=seed, start=start, stop=stop))


def test_any_step_can_be_the_first_one() -> None:
    assert draws(0, 20)[13:] == draws(13, 20)
    assert draws(0, 5, seed=1) != draws(0, 5)
    for start, stop, length in ((0, 20, 20), (13, 20, 7), (20, 20, 0), (21, 20, 0)):
        assert len(StepBatches([Part(Numbers(7), 3)], seed=0, start=start, stop=stop)) == length


def test_each_part_is_walked_epoch_by_epoch() -> None:
    batches = draws(0, 28)
    assert all([d.part for d in batch] == [0, 0, 0, 1] for batch in batches)
    for part, size in ((0, 7), (1, 4)):
        seen = [(d.epoch, d.index) for batch in batches for d in batch if d.part == part]
        for epoch in range(len(seen) // size):
            own = seen[epoch * size : (epoch + 1) * size]
            assert sorted(own) == [(epoch, index) for index in range(size)]
    orders = [[d.index for b in batches for d in b if d.part == 0][k * 7 : k * 7 + 7] for k in range(4)]
    assert orders[0] != orders[1]


def test_the_mixed_dataset_dispatches_and_refuses_an_empty_part() -> None:
    dataset = MixedDataset([Part(Numbers(7), 3), Part(Numbers(0), 0), Part(Numbers(4), 1)])
    assert len(dataset) == 11 and [part.per_batch for part in dataset.parts] == [3, 1]
    (batch,) = StepBatches(dataset.parts, seed=0, start=0, stop=1)
    assert dataset[batch[3]] == (0, batch[3].index)
    with pytest.raises(UserError, match="empty"):
        MixedDataset([Part(Numbers(0), 2)])
