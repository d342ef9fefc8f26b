import numpy as np
import torch
from transformers.models.minicpmv4_6 import modeling_minicpmv4_6
from transformers.models.qwen3 import modeling_qwen3

from models.tiny.batched_vision import batched_vision, encode_images, patchify
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model, build_processor
from train.tiny.eddm import tiny_tokenizer

CONFIG = TinyMiniCPMVConfig()


def make_model():
    tokenizer = tiny_tokenizer(1536)
    torch.manual_seed(0)
    return build_model(CONFIG, tokenizer).eval(), build_processor(CONFIG, tokenizer)


def make_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)


def test_dense_batches_give_the_stock_result() -> None:
    model, processor = make_model()
    images = make_images(3)
    stock = processor.image_processor(list(images), return_tensors="pt")
    with torch.no_grad():
        expected = model.model.get_image_features(stock["pixel_values"], stock["target_sizes"]).pooler_output
        seen = encode_images(model, torch.from_numpy(images))
    assert seen.shape == (3, 9, CONFIG.text_hidden)
    torch.testing.assert_close(seen, torch.stack(list(expected)), atol=1e-4, rtol=1e-4)


def test_gradients_are_the_stock_ones() -> None:
    model, processor = make_model()
    images = make_images(2)
    stock = processor.image_processor(list(images), return_tensors="pt")
    names = [name for name, _ in model.model.vision_tower.named_parameters()]
    parameters = list(model.model.vision_tower.parameters())
    tokens = model.model.get_image_features(stock["pixel_values"], stock["target_sizes"]).pooler_output
    expected = torch.autograd.grad(torch.stack(list(tokens)).square().sum(), parameters)
    seen = torch.autograd.grad(encode_images(model, torch.from_numpy(images)).square().sum(), parameters)
    for name, one, other in zip(names, seen, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}")


def test_images_of_different_sizes_fall_back() -> None:
    model, processor = make_model()
    images = [make_images(1)[0], np.zeros((48, 192, 3), np.uint8)]
    stock = processor.image_processor(images, return_tensors="pt")
    with torch.no_grad():
        expected = model.model.get_image_features(stock["pixel_values"], stock["target_sizes"]).pooler_output
        with batched_vision(model):
            seen = model.model.get_image_features(stock["pixel_values"], stock["target_sizes"]).pooler_output
    for one, other in zip(seen, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_only_a_tiny_model_is_touched() -> None:
    tower = modeling_minicpmv4_6.MiniCPMV4_6VisionAttention
    norm = modeling_qwen3.Qwen3RMSNorm
    stock = tower.forward, norm.forward
    small, _ = make_model()
    large = build_model(TinyMiniCPMVConfig(text_layers=2, text_intermediate=20_000), tiny_tokenizer(1536))
    assert sum(p.numel() for p in large.parameters()) > 10_000_000
    with batched_vision(small):
        assert tower.forward is not stock[0] and norm.forward is not stock[1]
        with batched_vision(large):
            pass
    assert (tower.forward, norm.forward) == stock
    with batched_vision(large):
        assert (tower.forward, norm.forward) == stock


def test_patchify_equals_the_processor_and_leaves_the_images_alone() -> None:
    _, processor = make_model()
    images = make_images(2)
    pixels = torch.from_numpy(images).float()
    patchify(pixels, patch_size=8)
    assert (pixels.numpy() == images).all()
    expected = processor.image_processor(list(images), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(patchify(torch.from_numpy(images), patch_size=8), expected, atol=1e-5, rtol=1e-5)
