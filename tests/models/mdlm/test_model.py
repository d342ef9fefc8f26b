from dataclasses import replace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from transformers import LlamaConfig, LlavaNextConfig, LlavaNextForConditionalGeneration, MistralConfig

from data.errors import UserError
from data.training.grounding import GroundingItem
from models.mdlm.llava import LlavaConfig
from models.mdlm.model import MDLM, MDLMConfig, build_mdlm, build_processor, image_score
from models.mdlm.sam import Sam, SamConfig
from models.mdlm.sam_lora import SamLora, add_sam_lora
from models.tiny.llava_sam import TinyLlavaConfig, build_tiny_llava, build_tiny_tokenizer
from tests.models.conftest import make_mdlm, tiny_sam_config  # type: ignore[import-not-found]


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


def test_images_that_threads_made_ready_give_the_same_maps(mdlm: MDLM, images: list[np.ndarray]) -> None:
    texts = ["a dent", "a scratch at the top", "nothing"]
    ready = [mdlm.ready(image) for image in images]
    assert all(one.pixels.dtype == torch.uint8 and one.tile is not None and one.image is None for one in ready)
    for one, other in zip(mdlm.predict(ready, texts), mdlm.predict(images, texts), strict=True):
        assert np.array_equal(one.anomaly_map, other.anomaly_map) and one.score == other.score


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


def paper_size(config: MDLMConfig, text: str = "llama") -> MDLM:
    settings = {"model_type": text, "vocab_size": 32064}
    if text == "mistral":
        settings |= {"num_key_value_heads": 8, "intermediate_size": 14336, "sliding_window": None}
    with torch.device("meta"):
        llava = LlavaNextForConditionalGeneration(LlavaNextConfig(text_config=settings))
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


def count(model: MDLM, *words: str) -> int:
    """Trainable parameters whose name holds all the words."""
    return sum(p.numel() for n, p in model.named_parameters() if p.requires_grad and all(word in n for word in words))


def size(name: str) -> SamConfig:
    values = dict(OmegaConf.to_container(OmegaConf.load(f"configs/sam/{name}.yaml")))  # type: ignore[arg-type]
    return SamConfig(**values)


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
@pytest.mark.parametrize("part", list(SamLora))
def test_sam_learns_where_its_lora_is(name: str, part: SamLora) -> None:
    config = MDLMConfig(llava=LlavaConfig(path=""), sam=size(name), train_mask_decoder=False)
    with torch.device("meta"):
        sam = Sam(config.sam)
        sam.requires_grad_(False)
        add_sam_lora(sam, part, rank=16, alpha=16, dropout=0.0)
    trainable = sum(p.numel() for p in sam.parameters() if p.requires_grad)
    width, depth = config.sam.width, config.sam.depth
    # decoder: 2 self-attentions of width 256, 5 cross-attentions that go down to 128, 4 projections each
    expected = {
        SamLora.none: 0,
        SamLora.encoder: depth * 16 * ((width + 3 * width) + 2 * width),
        SamLora.decoder: 16 * (2 * 4 * 2 * 256 + 5 * 4 * (256 + 128)),
    }
    assert trainable == expected[part]


def test_mistral_trains_the_same_parts() -> None:
    config = MDLMConfig(
        llava=LlavaConfig(path=""), sam=size("vit_l"), sam_lora=SamLora.decoder, train_mask_decoder=False
    )
    model = paper_size(config, "mistral")
    assert count(model, "llava.", "q_proj", "lora_") == 32 * 16 * (4096 + 4096)
    assert count(model, "llava.", "v_proj", "lora_") == 32 * 16 * (4096 + 1024)  # 8 key-value heads
    assert count(model, "trainable_tokens_delta") == 4096
    assert count(model, "sam.") == count(model, "sam.mask_decoder.", "lora_") > 0
    assert sum(p.numel() for p in model.llava.llava.model.language_model.parameters()) > 7.1e9


def test_the_decoder_is_not_trained_twice() -> None:
    config = MDLMConfig(llava=LlavaConfig(path=""), sam=size("vit_b"), sam_lora=SamLora.decoder)
    with pytest.raises(UserError, match="choose one of them"):
        paper_size(config)


def test_only_the_seg_row_changes_even_where_the_embeddings_grew(images: list[np.ndarray]) -> None:
    for text in (LlamaConfig, MistralConfig):
        torch.manual_seed(0)
        tokenizer = build_tiny_tokenizer(["a dent"] * 9, 300)
        tokenizer.add_tokens([f"filler{k}" for k in range(3)])
        tiny = TinyLlavaConfig(width=32, layers=2, heads=2, mlp=48, tile_size=32, vision_width=16)
        llava = build_tiny_llava(tiny, tokenizer, seed=0)
        settings = llava.config.to_dict()
        kept = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        words = {key: settings["text_config"][key] for key in kept}
        settings["text_config"] = text(**words, vocab_size=len(tokenizer) - 4, num_key_value_heads=1).to_dict()
        llava = LlavaNextForConditionalGeneration(LlavaNextConfig.from_dict(settings))
        llava.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        config = MDLMConfig(llava=LlavaConfig(path=""), sam=SamConfig(image_size=64, width=32, depth=1, heads=2))
        config.sam.global_layers = [0]
        sam = Sam(config.sam)
        seg_id = tokenizer.get_vocab()["[SEG]"]
        model = build_mdlm(llava, seg_id, sam, config, build_processor(llava, tokenizer, sam, config.llava)).train()
        rows = model.llava.llava.get_input_embeddings()
        everything = torch.arange(len(tokenizer))
        before = rows(everything).detach().clone()
        assert model.processor is not None
        items = [GroundingItem("", i, ["a dent", "a dent here"], [np.ones(i.shape[:2], bool)] * 2) for i in images]
        model(model.processor.collate(items)).mean().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad and parameter.grad is not None:
                    parameter -= parameter.grad.sign()
        changed = (rows(everything) != before).any(1).nonzero()[:, 0].tolist()
        assert changed == [seg_id]


def test_checkpointing_gives_the_same_gradients(images: list[np.ndarray]) -> None:
    grads = []
    for checkpointing in (False, True):
        model = make_mdlm(
            MDLMConfig(llava=LlavaConfig(path=""), sam=tiny_sam_config(), gradient_checkpointing=checkpointing)
        ).train()
        assert model.processor is not None
        batch = model.processor.collate([GroundingItem("", images[0], ["a dent"], [])])
        model(batch).square().mean().backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, value in grads[0].items():
        torch.testing.assert_close(value, grads[1][name])


def test_checkpointing_runs_each_layer_again_and_with_gradients_both_times(images: list[np.ndarray]) -> None:
    """The reentrant kind would first run without."""
    model = make_mdlm(MDLMConfig(llava=LlavaConfig(path=""), sam=tiny_sam_config(), gradient_checkpointing=True))
    runs: list[bool] = []
    layers = model.train().llava.llava.model.language_model.layers
    for layer in layers:
        layer.mlp.register_forward_pre_hook(lambda module, inputs: runs.append(torch.is_grad_enabled()))
    assert model.processor is not None
    batch = model.processor.collate([GroundingItem("", images[0], ["a dent"], [])])
    loss = model(batch).square().mean()
    assert runs == [True] * len(layers)
    loss.backward()
    assert runs == [True] * (2 * len(layers))
