import numpy as np
import pytest
import torch

from data.tiny.pool import ScenePoolConfig, draw_pool
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model
from train.tiny.config import BaseConfig
from train.tiny.eddm import tiny_tokenizer
from train.tiny.spelling import Spelling
from train.tiny.steps import make_optimizers
from train.tiny.vision import TYPES, Seeing, recolour


@pytest.mark.parametrize("merged_after", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_few_steps_teach_the_tokens_where_they_are(merged_after: int) -> None:
    """The inner layer's tokens are 2 × 2 patches behind the first merging, single patches before it."""
    config = BaseConfig(model=TinyMiniCPMVConfig(vision_layers=3, insert_layer=merged_after, text_layers=1))
    tokenizer = tiny_tokenizer(1536)
    torch.manual_seed(0)
    model = build_model(config.model, tokenizer)
    seeing = Seeing(model, config, Spelling(model, tokenizer, 3))
    pool = draw_pool(ScenePoolConfig(count=8), size=96, seed=0)
    optimizers = make_optimizers(seeing.modules, 4e-3, 1e-3, 0.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"]
    history = []
    for _ in range(8):
        losses = seeing.losses(torch.from_numpy(pool.images), pool.kinds, pool.facts)
        loss = torch.stack([weight * value for weight, value in losses.values()]).sum()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        history.append({name: value.item() for name, (_, value) in losses.items()})
    assert history[-1]["spelling"] < 0.7 * history[0]["spelling"]
    assert history[-1]["cells"] < history[0]["cells"]
    assert history[-1]["depth"] < history[0]["depth"]


@pytest.mark.parametrize("across", [1, 2, 4])
def test_a_head_that_says_what_is_in_its_cells_has_no_loss(across: int) -> None:
    config = BaseConfig(model=TinyMiniCPMVConfig(vision_layers=3, text_layers=1))
    tokenizer = tiny_tokenizer(1536)
    model = build_model(config.model, tokenizer)
    seeing = Seeing(model, config, Spelling(model, tokenizer, 3))
    cells = torch.from_numpy(np.random.default_rng(0).integers(0, TYPES, (2, 12, 12)))
    tokens = [
        cells[image, row : row + across, column : column + across].reshape(-1)
        for image in range(2)
        for row in range(0, 12, across)
        for column in range(0, 12, across)
    ]
    said = 50 * torch.nn.functional.one_hot(torch.stack(tokens), TYPES).float().flatten(1)
    assert seeing._cell_loss(said, cells, across=across) < 1e-6
    assert seeing._cell_loss(said.flip(0), cells, across=across) > 1


def test_nothing_listens_after_a_step() -> None:
    config = BaseConfig(model=TinyMiniCPMVConfig(vision_layers=3, text_layers=1))
    tokenizer = tiny_tokenizer(1536)
    model = build_model(config.model, tokenizer)
    seeing = Seeing(model, config, Spelling(model, tokenizer, 3))
    pool = draw_pool(ScenePoolConfig(count=2), size=96, seed=0)
    seeing.losses(torch.from_numpy(pool.images), pool.kinds, pool.facts)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_other_colours_change_neither_place_nor_contrast_by_much() -> None:
    images = draw_pool(ScenePoolConfig(count=6), size=96, seed=0).images
    before = images.copy()
    changed = recolour(images, np.random.default_rng(0)).numpy()
    assert changed.dtype == np.float32 and (images == before).all()
    assert changed.min() >= 0 and changed.max() <= 255
    np.testing.assert_array_equal(changed, recolour(images, np.random.default_rng(0)).numpy())
    orders = set()
    for old, new in zip(images, changed, strict=True):
        likeness = np.corrcoef(old.reshape(-1, 3).T, new.reshape(-1, 3).T)[:3, 3:]
        assert likeness.max(axis=0).min() > 0.98  # every new channel is one of the old ones
        orders.add(tuple(likeness.argmax(axis=0).tolist()))
        assert 0.6 < new.mean() / old.mean() < 1.4
    assert len(orders) > 1
