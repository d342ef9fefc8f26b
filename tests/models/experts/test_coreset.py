import pytest
import torch
from torch import Tensor

from models.experts.coreset import covering_radius, select_coreset


def plain_k_center(features: Tensor, count: int, start: int) -> list[int]:
    """The textbook algorithm, one pass a pick."""
    features = features.double()
    picks = [start]
    distances = (features - features[start]).square().sum(1)
    while len(picks) < count:
        distances[picks] = -1
        picks.append(int(distances.argmax()))
        distances = torch.minimum(distances, (features - features[picks[-1]]).square().sum(1))
    return picks


@pytest.mark.parametrize("candidates", [1, 7, 64, 5000])
@pytest.mark.parametrize("clusters", [0, 5])
def test_same_picks_as_the_textbook(candidates: int, clusters: int) -> None:
    generator = torch.Generator().manual_seed(candidates)
    features = torch.randn(600, 12, generator=generator)
    if clusters:
        centers = torch.randn(clusters, 12, generator=generator) * 20
        features += centers[torch.randint(clusters, (600,), generator=generator)]
    picks = select_coreset(features, 80, start=17, candidates=candidates)
    assert picks.tolist() == plain_k_center(features, 80, 17)


def test_far_from_the_origin() -> None:
    """|x|² + |c|² − 2xc would cancel away without centring."""
    features = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    assert select_coreset(features + 1000, 50, start=0).tolist() == plain_k_center(features + 1000, 50, 0)


def test_everything_once() -> None:
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert sorted(select_coreset(features, 50, start=3, candidates=8).tolist()) == list(range(50))


def test_equal_points_are_left_for_last() -> None:
    features = torch.tensor([[0.0], [0.0], [5.0], [5.0], [9.0]])
    picks = select_coreset(features, 5, start=0)
    assert set(features[picks[:3], 0].tolist()) == {0.0, 5.0, 9.0}
    assert sorted(picks.tolist()) == [0, 1, 2, 3, 4]


def test_one() -> None:
    assert select_coreset(torch.zeros(1, 3), 1, start=0).tolist() == [0]


@pytest.mark.parametrize(("count", "start"), [(0, 0), (6, 0), (2, 5), (2, -1)])
def test_out_of_range(count: int, start: int) -> None:
    with pytest.raises(ValueError, match=r"must be in 1\.\.5"):
        select_coreset(torch.zeros(5, 2), count, start=start)


def test_covering_radius() -> None:
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    assert covering_radius(features, torch.tensor([0])) == pytest.approx(10)
    assert covering_radius(features, torch.tensor([1])) == pytest.approx(5)
