from collections import Counter
from pathlib import Path

import pytest

from data.ddqa.assign import assign, hold_out
from data.errors import UserError
from data.sample import Sample


def make(count: int, dataset: str = "a", views: int = 1) -> list[Sample]:
    return [
        Sample(
            id=f"{dataset}/{k}",
            dataset=dataset,
            category="x",
            split="train",
            image=Path(f"{k}.png"),
            defect="dent" if k % 3 else None,
            group=f"{k // views}" if views > 1 else None,
        )
        for k in range(count)
    ]


def test_letters_are_balanced_in_each_source_and_side() -> None:
    assignments = assign([*make(103), *make(58, "b")], holdout=0.3, seed=1)
    for dataset in ("a", "b"):
        for held in (False, True):
            own = [a for a in assignments if (a.sample.dataset, a.held_out) == (dataset, held)]
            for task, options in ((0, 2), (1, 4), (2, 4)):
                asked = own if task == 0 else [a for a in own if not a.sample.is_normal]
                counts = Counter(a.letters[task] for a in asked)
                assert set(counts) == set(range(options))
                assert max(counts.values()) - min(counts.values()) <= 1


def test_another_source_beside_it_changes_nothing() -> None:
    alone = assign(make(40), holdout=0.2, seed=0)
    beside = assign([*make(30, "b"), *make(40)], holdout=0.2, seed=0)
    assert beside[30:] == alone


def test_objects_stay_together_and_reach_the_share() -> None:
    samples = make(200, views=5)
    chosen = hold_out(samples, 0.1, seed=0)
    assert len(chosen) == 4
    assert hold_out(samples[::-1], 0.1, seed=0) == chosen
    assert hold_out(samples, 0.1, seed=1) != chosen
    assert hold_out(samples, 0.0, seed=0) == set()


def test_the_same_group_name_in_two_sources_is_two_objects() -> None:
    chosen = hold_out([*make(50, "a", 5), *make(50, "b", 5)], 0.2, seed=0)
    assert Counter(dataset for dataset, _ in chosen) == {"a": 2, "b": 2}


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="shows only 2 objects"):
        hold_out(make(10, views=5), 0.9, seed=0)
