"""QLoRA on the CPU: the language model in 4 bits, LoRA and heads trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.training.grounding import GroundingItem
from models.mdlm.llava import LlavaConfig
from models.mdlm.model import MDLM, MDLMConfig, create_mdlm
from models.quantize import Precision, QuantizeConfig, keep_trainable_on_cpu, quantized_layers

pytest.importorskip("bitsandbytes")


def quantized(config: MDLMConfig, **changes: object) -> MDLM:
    quantize = QuantizeConfig(compute=Precision.float32, **changes)  # type: ignore[arg-type]
    torch.manual_seed(0)
    return create_mdlm(replace(config, llava=LlavaConfig(path=config.llava.path, quantize=quantize)))


def loss_of(model: MDLM, images: list[np.ndarray]) -> torch.Tensor:
    assert model.processor is not None
    masks = [np.arange(image.shape[1])[None].repeat(len(image), 0) > 30 for image in images]
    items = [GroundingItem("", i, ["a dent"], [m]) for i, m in zip(images, masks, strict=True)]
    batch = model.processor.collate(items)
    return torch.nn.functional.binary_cross_entropy_with_logits(model(batch), batch.masks)


def test_only_the_language_model_is_quantised(base_config: MDLMConfig) -> None:
    model = quantized(base_config)
    layers = quantized_layers(model)
    assert len(layers) == 2 * 7
    assert all(layer.weight.dtype == torch.uint8 for layer in layers)
    assert not quantized_layers(model.llava.llava.model.vision_tower)
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad)


def test_trains_also_after_an_evaluation(base_config: MDLMConfig, images: list[np.ndarray]) -> None:
    model = quantized(base_config)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-2)
    losses = []
    for _ in range(12):
        model.train()
        loss = loss_of(model, images)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        model.predict(images[:1], ["a dent"])  # an evaluation-mode pass must not spoil later gradients
    assert losses[-1] < 0.9 * losses[0]
    lora = [p for name, p in model.named_parameters() if "lora_B" in name]
    assert all(p.abs().max() > 0 for p in lora)


def test_an_evaluation_does_not_change_the_gradients(base_config: MDLMConfig, images: list[np.ndarray]) -> None:
    grads = []
    for evaluate in (False, True):
        model = quantized(base_config)
        if evaluate:
            model.predict(images[:1], ["a dent"])
        loss_of(model.train(), images).backward()
        grads.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys() and any("lora" in name for name in grads[0])
    assert all(torch.equal(grads[0][name], grads[1][name]) for name in grads[0])


def test_the_cpu_kernel_without_gradients_is_off(base_config: MDLMConfig) -> None:
    model = quantized(base_config, double=False)
    for layer in quantized_layers(model):
        assert layer.support_avx512bf16_for_cpu is False
        layer.support_avx512bf16_for_cpu = True
    keep_trainable_on_cpu(model)
    assert not any(layer.support_avx512bf16_for_cpu for layer in quantized_layers(model))
