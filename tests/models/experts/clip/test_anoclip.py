"""AnoCLIP: features of the value path, 22 views, and an adaptation that knows no order."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.experts.clip.anoclip import AnoClip, AnoClipConfig, adapt, views
from models.experts.clip.backbone import Clip
from models.experts.clip.expert import TextPair


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Two images."""
    random = np.random.default_rng(2)
    return [random.integers(0, 256, (96, 96, 3), np.uint8) for _ in range(2)]


def test_the_map_is_the_smoothed_share_of_the_damaged_texts(clip: Clip, images: list[np.ndarray]) -> None:
    anoclip = AnoClip(clip, AnoClipConfig(views=False))
    batch = clip.prepare(images[:1])
    maps, scores = anoclip.look("screw", batch)
    texts = anoclip.texts("screw")
    directions = torch.stack([clip.encode_texts(state).mean(0) for state in (texts.normal, texts.abnormal)])
    directions = directions / directions.norm(dim=1, keepdim=True)
    original, values = clip.run_two_paths(clip.tokens(batch), 8)
    share = (F.normalize(clip.project(clip.normalise(values[0, 1:])), dim=1) @ directions.T).softmax(1)[:, 1]
    grid = share.view(6, 6)
    corner = torch.stack([grid[0, 0]] * 4 + [grid[0, 1]] * 2 + [grid[1, 0]] * 2 + [grid[1, 1]]).mean()
    assert float(maps[0, 0, 0]) == pytest.approx(float(corner), abs=1e-6)
    assert float(maps[0, 2, 2]) == pytest.approx(float(grid[1:4, 1:4].mean()), abs=1e-6)
    whole = (F.normalize(clip.project(clip.normalise(original[0, 0])), dim=0) @ directions.T).softmax(0)[1]
    assert float(scores[0]) == pytest.approx(float(whole), abs=1e-6)


def test_22_views_of_which_the_first_is_the_image_and_all_differ(clip: Clip, images: list[np.ndarray]) -> None:
    batch = clip.prepare(images)
    seen = views(batch)
    assert len(seen) == 22
    assert torch.equal(seen[0], batch)
    assert all(view.shape == batch.shape for view in seen)
    assert all(not torch.equal(one, other) for index, one in enumerate(seen) for other in seen[:index])
    shifted, by = seen[12], 0.1 * (batch.shape[-1] - 1)  # down and right by a tenth of the side: looks that far ahead
    row = batch[0, 0, int(by) : int(by) + 2, 0 + int(by) : int(by) + 2]
    part = by - int(by)
    expected = (row * torch.tensor([[1 - part], [part]]) * torch.tensor([1 - part, part])).sum()
    assert float(shifted[0, 0, 0, 0]) == pytest.approx(float(expected), abs=1e-4)


def test_the_image_score_is_the_mean_over_the_views(clip: Clip, images: list[np.ndarray]) -> None:
    batch = clip.prepare(images[:1])
    _, mean = AnoClip(clip, AnoClipConfig()).look("screw", batch)
    alone = AnoClip(clip, AnoClipConfig(views=False))
    singles = [float(alone.look("screw", view)[1]) for view in views(batch)]
    assert float(mean) == pytest.approx(np.mean(singles), abs=1e-6)


def test_adaptation_changes_the_map_and_knows_no_order(clip: Clip, images: list[np.ndarray]) -> None:
    anoclip = AnoClip(clip, AnoClipConfig(views=False, adapt=True))
    batch = clip.prepare(images)
    maps, _ = anoclip.look("screw", batch)
    turned, _ = anoclip.look("screw", batch.flip(0))
    torch.testing.assert_close(maps, turned.flip(0), atol=1e-6, rtol=0)
    plain, _ = AnoClip(clip, AnoClipConfig(views=False)).look("screw", batch)
    assert (maps - plain).abs().max() > 1e-4


def test_corners_of_the_grid_are_corners_of_the_map(clip: Clip) -> None:
    grid = torch.arange(36.0).view(6, 6)
    grown = AnoClip(clip, AnoClipConfig()).enlarge(grid, (50, 80))
    assert grown.shape == (50, 80)
    assert (grown[0, 0], grown[0, -1], grown[-1, 0], grown[-1, -1]) == pytest.approx((0, 5, 30, 35))


def test_adaptation_keeps_the_length_of_features_as_its_definition_says(clip: Clip) -> None:
    random = torch.Generator().manual_seed(4)
    patches, prompts = (
        torch.randn(5, 24, generator=random) * 7,
        F.normalize(torch.randn(9, 24, generator=random), dim=1),
    )
    pair = TextPair(prompts[0], prompts[1])
    found = adapt(patches, prompts, pair, AnoClipConfig(steps=1, rate=0.0, seed=3))
    generator, bound = torch.Generator().manual_seed(3), 24**-0.5
    weight = torch.rand(9, 24, generator=generator) * 2 * bound - bound
    bias = torch.rand(9, generator=generator) * 2 * bound - bound
    unit = patches / patches.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found, patches / 2 + torch.tanh(unit @ weight.T + bias) @ prompts / 2)


def test_five_steps_of_adaptation_by_hand() -> None:
    """The loss and AdamW written out: no moment, weight or noise comes from another image."""
    random = torch.Generator().manual_seed(6)
    patches = torch.randn(7, 12, generator=random, dtype=torch.float64) * 3
    prompts = F.normalize(torch.randn(10, 12, generator=random, dtype=torch.float64), dim=1)
    pair = TextPair(F.normalize(prompts[:5].mean(0), dim=0), F.normalize(prompts[5:].mean(0), dim=0))
    config = AnoClipConfig(seed=8)
    generator, bound = torch.Generator().manual_seed(8), 12**-0.5
    weight = (torch.rand(10, 12, generator=generator) * 2 * bound - bound).double().requires_grad_()
    bias = (torch.rand(10, generator=generator) * 2 * bound - bound).double().requires_grad_()

    def adapted(features: torch.Tensor) -> torch.Tensor:
        unit = features / features.norm(dim=1, keepdim=True)
        return 0.5 * features + 0.5 * torch.tanh(unit @ weight.T + bias) @ prompts

    def shares(features: torch.Tensor) -> torch.Tensor:
        seen = adapted(features)
        seen = seen / seen.norm(dim=1, keepdim=True)
        return torch.stack([seen @ pair.normal, seen @ pair.abnormal], 1).softmax(1)

    first = {name: torch.zeros_like(value) for name, value in (("weight", weight), ("bias", bias))}
    second = {name: torch.zeros_like(value) for name, value in first.items()}
    for step in range(1, 6):
        noise = torch.randn(patches.shape, generator=generator).double() * 0.055
        clean, noisy = shares(patches), shares(patches + noise)
        entropy = -(clean * clean.log()).sum(1).mean()
        loss = entropy + 0.5 * (-noisy[:, 1].log().mean() - clean[:, 0].log().mean())
        for name, value, slope in zip(first, (weight, bias), torch.autograd.grad(loss, (weight, bias)), strict=True):
            first[name] = 0.9 * first[name] + 0.1 * slope
            second[name] = 0.999 * second[name] + 0.001 * slope**2
            with torch.no_grad():
                value *= 1 - 1e-3 * 0.01
                value -= 1e-3 * (first[name] / (1 - 0.9**step)) / ((second[name] / (1 - 0.999**step)).sqrt() + 1e-8)
    torch.testing.assert_close(adapt(patches, prompts, pair, config), adapted(patches).detach(), atol=1e-9, rtol=0)
