"""Anyres: our token count agrees with LLaVA-NeXT's own packing, for any shape of image."""

import numpy as np
import pytest
import torch

from data.training.grounding import GroundingItem
from models.mdlm.llava import ImageTiles, LlavaConfig
from models.mdlm.model import MDLM, MDLMConfig, build_mdlm, build_processor
from models.mdlm.tiles import AnyresTiler
from tests.models.conftest import make_mdlm  # type: ignore[import-not-found]


@pytest.fixture(scope="module")
def anyres() -> MDLM:
    model = make_mdlm(None)
    llava, seg_id = model.llava.model.unload(), model.llava.seg_id
    llava.config.image_grid_pinpoints = [[32, 64], [64, 32], [64, 64]]
    llava.model.config.image_grid_pinpoints = llava.config.image_grid_pinpoints
    config = MDLMConfig(llava=LlavaConfig(path="", image_tiles=ImageTiles.anyres))
    config.dam.heads = 4
    processor = build_processor(llava, model.processor.tokenizer, model.sam, config.llava)
    return build_mdlm(llava, seg_id, model.sam, config, processor).eval()


def test_images_of_any_shape_are_packed(anyres: MDLM, images: list[np.ndarray]) -> None:
    assert anyres.processor is not None
    items = [GroundingItem("", image, ["a dent", "a scratch"], []) for image in images]
    batch = anyres.processor.collate(items)
    assert batch.tiles.shape == (3, 5, 3, 32, 32)
    assert batch.tile_sizes is not None and batch.tile_sizes.tolist() == [[48, 80], [64, 64], [90, 40]]
    image_id = anyres.llava.llava.config.image_token_id
    counts = (batch.input_ids == image_id).sum(1).tolist()
    tiler = anyres.processor.tiler
    assert isinstance(tiler, AnyresTiler)
    assert counts == [tiler.count(image) for image in images for _ in range(2)]
    assert min(counts) > 4  # more than the base tile alone
    with torch.no_grad():
        assert anyres(batch).shape == (6, anyres.sam.mask_size, anyres.sam.mask_size)


def test_a_batch_predicts_as_each_image_alone(anyres: MDLM, images: list[np.ndarray]) -> None:
    texts = ["a dent", "a scratch at the top", "nothing"]
    for image, text, together in zip(images, texts, anyres.predict(images, texts), strict=True):
        (alone,) = anyres.predict([image], [text])
        np.testing.assert_allclose(alone.anomaly_map, together.anomaly_map, atol=1e-5)


def test_the_tiles_matter(anyres: MDLM, images: list[np.ndarray]) -> None:
    assert anyres.processor is not None
    batch = anyres.processor.collate([GroundingItem("", images[0], ["a dent"], [])])
    with torch.no_grad():
        args = (batch.input_ids, batch.attention_mask, batch.tiles, batch.row_image, batch.tile_sizes)
        before = anyres.llava(*args).seg
        batch.tiles[:, -1] += 3
        assert not torch.allclose(anyres.llava(*args).seg, before, atol=1e-5)
