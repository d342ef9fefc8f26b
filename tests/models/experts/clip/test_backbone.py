"""CLIP's inner tokens, against open_clip's own forward pass and plain recomputation."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from data.errors import UserError
from models.experts.clip.backbone import Clip, ClipConfig, at_size, attend_to_values


def test_the_class_token_is_open_clips_own_feature(checkpoint: Path) -> None:
    clip = Clip(ClipConfig(model="tiny-clip", checkpoint=str(checkpoint), device="cpu"))
    batch = clip.prepare([np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)])
    with torch.inference_mode():
        theirs = clip._model.encode_image(batch)
    ours = clip.project(clip.normalise(clip.run(clip.tokens(batch))[:, 0]))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    alone = clip.project(clip.normalise(clip.run_classes(clip.tokens(batch))))
    torch.testing.assert_close(alone, theirs, atol=1e-5, rtol=1e-5)


def test_other_sizes_resize_the_positions_bilinearly(clip: Clip) -> None:
    assert clip.grid == (6, 6)
    positions = clip._model.visual.positional_embedding
    grid = positions[1:].view(1, 5, 5, -1).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, (6, 6), mode="bilinear", align_corners=False)[0].flatten(1).T
    torch.testing.assert_close(clip._positions()[1:], expected)


def test_values_attend_to_themselves(clip: Clip) -> None:
    attention, tokens = clip.blocks[0].attn, torch.randn(2, 5, 64)
    width, heads = 64, attention.num_heads
    values = tokens @ attention.in_proj_weight[2 * width :].T + attention.in_proj_bias[2 * width :]
    parts = []
    for part in values.split(width // heads, 2):
        weights = (part @ part.transpose(1, 2) / (width // heads) ** 0.5).softmax(-1)
        parts.append(weights @ part)
    expected = torch.cat(parts, 2) @ attention.out_proj.weight.T + attention.out_proj.bias
    torch.testing.assert_close(attend_to_values(attention, tokens), expected, atol=1e-5, rtol=1e-4)


def test_the_value_path_is_the_sum_of_its_attentions(clip: Clip) -> None:
    tokens = torch.randn(1, 37, 64)
    original, values = clip.run_two_paths(tokens, 3)
    with torch.inference_mode():
        inside = tokens
        for block in clip.blocks[:-3]:
            inside = block(inside)
        expected = inside
        for block in clip.blocks[-3:]:
            expected = expected + attend_to_values(block.attn, block.ln_1(inside))
            inside = block(inside)
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(original, clip.run(tokens))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 100}, "no multiple of the patch size 16"),
        ({"image_size": -16}, "no multiple of the patch size 16"),
        ({"batch_size": 0}, "clip.batch_size=0 must be at least 1"),
    ],
)
def test_what_cannot_be_used_is_named(checkpoint: Path, changes: dict[str, object], message: str) -> None:
    settings = {"model": "tiny-clip", "checkpoint": str(checkpoint), "device": "cpu"} | changes
    with pytest.raises(UserError, match=message):
        Clip(ClipConfig(**settings))  # type: ignore[arg-type]


def test_texts_are_open_clips_own_features_though_padding_is_cut(clip: Clip) -> None:
    texts = ["a photo of a nut.", "a bright photo of the large metal nut with damage for visual inspection."]
    with torch.inference_mode():
        theirs = clip._model.encode_text(clip._tokenize(texts))
    torch.testing.assert_close(clip.encode_texts(texts), theirs, atol=1e-5, rtol=1e-5)


def test_too_many_value_blocks_are_refused(clip: Clip) -> None:
    with pytest.raises(UserError, match="has 8 blocks, not 9"):
        clip.run_two_paths(torch.randn(1, 37, 64), 9)


@pytest.mark.parametrize(("side", "expected"), [(518, 512), (240, 240), (None, 0)])
def test_a_named_size_becomes_one_that_the_patches_fill(side: int | None, expected: int, checkpoint: Path) -> None:
    config = ClipConfig(model="tiny-clip", checkpoint=str(checkpoint), device="cpu")
    assert at_size(config, side).image_size == expected
    assert at_size(ClipConfig(model="tiny-clip", image_size=96), side).image_size == 96
    with pytest.raises(UserError, match="patches of 16 pixels, more than 9"):
        at_size(config, 9)
