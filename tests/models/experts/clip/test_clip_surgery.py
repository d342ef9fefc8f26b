"""CLIP Surgery: similarity without what all texts share, against its formula written out."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from data.errors import UserError
from models.experts.clip.backbone import Clip, ClipConfig
from models.experts.clip.clip_surgery import ClipSurgery, surgery
from tests.models.experts.clip.conftest import TINY, write_weights


def test_surgery_is_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(2, 5, 8, generator=generator), dim=-1)
    texts = F.normalize(torch.randn(3, 8, generator=generator), dim=-1)
    found = surgery(features, texts)
    for image in range(2):
        weights = (2 * texts @ features[image, 0]).softmax(0)
        weights = weights / weights.mean()
        for token in range(5):
            products = torch.stack([weights[k] * features[image, token] * texts[k] for k in range(3)])
            expected = (products - products.mean(0)).sum(1)
            torch.testing.assert_close(found[image, token], expected, atol=1e-6, rtol=1e-5)


def test_texts_of_a_state_have_length_1_before_their_mean(clip: Clip) -> None:
    expert = ClipSurgery(clip)
    texts = expert.texts("nut").abnormal
    expected = F.normalize(F.normalize(clip.encode_texts(texts), dim=1).mean(0), dim=0)
    torch.testing.assert_close(expert.pair("nut").abnormal, expected)


def test_maps_depend_on_the_image_and_the_gate_stands_at_0(clip: Clip) -> None:
    random = np.random.default_rng(3)
    images = [random.integers(0, 256, (64, 80, 3), np.uint8) for _ in range(2)]
    (one, first), (other, second) = ClipSurgery(clip).score("nut", images)
    assert one.shape == other.shape == (64, 80)
    assert np.isfinite(one).all()
    assert np.abs(one - other).max() > 0
    assert first != second
    assert 0 < first < 1
    assert ClipSurgery(clip).gates["nut"].pixel == pytest.approx(0)


def test_a_clip_with_too_few_blocks_is_refused(tmp_path: Path) -> None:
    shallow = TINY | {"vision_cfg": TINY["vision_cfg"] | {"layers": 5}}  # type: ignore[operator]
    (tmp_path / "shallow-clip.json").write_text(json.dumps(shallow))
    open_clip.add_model_config(tmp_path / "shallow-clip.json")
    path = write_weights("shallow-clip", tmp_path / "clip.safetensors")
    with pytest.raises(
        UserError, match="shallow-clip has 5 blocks, and CLIP Surgery gives a second path to the last 6"
    ):
        ClipSurgery(Clip(ClipConfig(model="shallow-clip", checkpoint=str(path), device="cpu")))
