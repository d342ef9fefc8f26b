import torch

from models.experts.neighbours import nearest_neighbours


def test_against_brute_force() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, memory = torch.randn(5000, 6, generator=generator), torch.randn(70, 6, generator=generator)
    distances, indices = nearest_neighbours(queries, memory, memory.square().sum(1))
    exact = torch.cdist(queries.double(), memory.double())
    assert torch.allclose(distances.double(), exact.min(1).values, atol=1e-4)
    assert torch.equal(indices, exact.argmin(1))


def test_a_point_of_the_memory_is_at_zero_never_nan() -> None:
    memory = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)) * 100
    distances, indices = nearest_neighbours(memory, memory, memory.square().sum(1))
    assert torch.equal(indices, torch.arange(20))
    assert (distances < 0.5).all()
