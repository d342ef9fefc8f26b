from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

from data.grounding import GroundingItem
from models.llava import LlavaConfig
from models.mdlm import MDLM, MDLMConfig, build_mdlm, image_score
from models.sam import Sam, SamConfig


def test_predicts_maps_at_native_size_in_batches(mdlm: MDLM, images: list[np.ndarray]) -> None:
    texts = ["a dent", "a scratch at the top", "nothing"]
    together = mdlm.predict(images, texts, batch_size=3)
    for image, text, prediction in zip(images, texts, together, strict=True):
        assert prediction.anomaly_map.shape == image.shape[:2]
        assert prediction.anomaly_map.dtype == np.float32
        assert 0 <= prediction.anomaly_map.min() <= prediction.score <= prediction.anomaly_map.max() <= 1
        (alone,) = mdlm.predict([image], [text])
        np.testing.assert_allclose(alone.anomaly_map, prediction.anomaly_map, atol=1e-5)
    with pytest.raises(ValueError, match="3 images, but 1 texts"):
        mdlm.predict(images, ["one"])


def test_the_text_reaches_the_mask(mdlm: MDLM, images: list[np.ndarray]) -> None:
    first, second = mdlm.predict(images[:1] * 2, ["a scratch", "no visible defect at all"])
    assert np.abs(first.anomaly_map - second.anomaly_map).max() > 0


def test_only_the_adapter_the_heads_and_the_decoder_learn(mdlm: MDLM, images: list[np.ndarray]) -> None:
    assert mdlm.processor is not None
    masks = [np.ones(image.shape[:2], bool) for image in images]
    items = [GroundingItem("", i, ["a dent"], [m]) for i, m in zip(images, masks, strict=True)]
    torch.nn.init.ones_(mdlm.dam.gate)  # type: ignore[union-attr]
    mdlm(mdlm.processor.collate(items)).square().mean().backward()
    torch.nn.init.zeros_(mdlm.dam.gate)  # type: ignore[union-attr]
    for name, parameter in mdlm.named_parameters():
        learns = (
            "lora_" in name
            or "trainable_tokens_delta" in name
            or name.startswith(("projection.", "dam."))
            or (name.startswith("sam.mask_decoder.") and parameter.requires_grad)
        )
        assert parameter.requires_grad == learns, name
        assert (parameter.grad is not None) == learns, name
    assert not any("vision_tower" in n for n, p in mdlm.named_parameters() if p.requires_grad)
    mdlm.zero_grad()


def test_image_score_is_the_mean_of_the_top_pixels() -> None:
    anomaly_map = torch.arange(100.0).reshape(10, 10) / 100
    assert image_score(anomaly_map, 0.02) == pytest.approx(0.985)
    assert image_score(anomaly_map, 0.0001) == pytest.approx(0.99)


def paper_size(config: MDLMConfig) -> MDLM:
    with torch.device("meta"):
        llava = LlavaNextForConditionalGeneration(
            LlavaNextConfig(text_config={"model_type": "llama", "vocab_size": 32064})
        )
        return build_mdlm(llava, 32002, Sam(config.sam), config)


def test_paper_size_trains_what_the_paper_trains() -> None:
    model = paper_size(MDLMConfig(llava=LlavaConfig(path=""), sam=SamConfig()))
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    lora = {name: p for name, p in trainable.items() if "lora_" in name}
    assert len(lora) == 32 * 2 * 2 and all("language_model" in name for name in lora)
    assert sum(p.numel() for p in lora.values()) == 32 * 2 * 2 * 16 * 4096
    assert {tuple(p.shape) for n, p in lora.items() if "lora_A" in n} == {(16, 4096)}
    (row,) = [p for name, p in trainable.items() if "trainable_tokens_delta" in name]
    assert tuple(row.shape) == (1, 4096)
    projection = sum(p.numel() for n, p in trainable.items() if n.startswith("projection."))
    assert projection == 4096 * 4096 + 4096 + 4096 * 256 + 256
    decoder = sum(p.numel() for n, p in trainable.items() if n.startswith("sam.mask_decoder."))
    heads = 3 * (2 * (256 * 256 + 256) + 256 * 32 + 32) + 2 * (256 * 256 + 256) + 256 * 4 + 4
    assert decoder == 4_058_340 - heads
    assert sum(p.numel() for p in model.sam.image_encoder.parameters()) > 600e6
    assert sum(p.numel() for p in model.llava.llava.model.language_model.parameters()) > 6.5e9


def test_dam_and_the_decoder_have_switches() -> None:
    config = MDLMConfig(llava=LlavaConfig(path=""), sam=SamConfig(), train_mask_decoder=False)
    config.dam = replace(config.dam, enabled=False)
    model = paper_size(config)
    assert model.dam is None
    assert not any(p.requires_grad for p in model.sam.parameters())
