"""The predicted bytes beside what autograd really keeps, on a CPU."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaModel

from train.plan.blueprint import _stack
from train.plan.stack import Stack

TOLERANCE = 0.1  # of the measured bytes


def llama(dropout: float = 0.0, targets: str = r".*\.(q_proj|v_proj)", layers: int = 4, attention: str = "sdpa"):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=128, intermediate_size=344, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=4, attn_implementation=attention,
    )  # fmt: skip
    base = LlamaModel(config)
    base.requires_grad_(False)
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=8, lora_dropout=dropout, target_modules=targets))
    return model, _stack(config, base, dropout)


ALL = r".*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


@pytest.mark.parametrize(
    ("mixed", "dropout", "targets"),
    [(False, 0.0, r".*\.(q_proj|v_proj)"), (True, 0.0, r".*\.(q_proj|v_proj)"), (False, 0.0, ALL), (True, 0.1, ALL)],
)
def test_saved_bytes_of_a_frozen_stack_with_adapters(saved_bytes, mixed: bool, dropout: float, targets: str) -> None:
    model, stack = llama(dropout, targets)
    if mixed:
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
            assert parameter.dtype is (torch.float32 if "lora_" in name else torch.bfloat16)
    rows, length = 3, 96
    inputs = torch.randn(rows, length, 128, dtype=torch.bfloat16 if mixed else torch.float32, requires_grad=True)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            model(inputs_embeds=inputs, use_cache=False)

    measured = saved_bytes(model, run)
    predicted = stack.saved(rows * length, 2 if mixed else 4, mask=4)
    assert predicted == pytest.approx(measured, rel=TOLERANCE)


def test_saved_bytes_with_checkpointing(saved_bytes) -> None:
    model, stack = llama(layers=8)
    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    inputs = torch.randn(3, 96, 128, requires_grad=True)
    measured = saved_bytes(model, lambda: model(inputs_embeds=inputs, use_cache=False))
    one, _ = llama(layers=1)
    single = saved_bytes(one, lambda: one(inputs_embeds=inputs, use_cache=False))
    assert stack.saved_with_checkpointing(288, 4, 4) == pytest.approx(measured + single, rel=TOLERANCE)


def test_flops_agree_with_the_counter_of_torch() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model, stack = llama(attention="eager")  # the fused kernel of a CPU is not counted
    with FlopCounterMode(display=False) as counter, torch.no_grad(), model.disable_adapter():
        model(inputs_embeds=torch.randn(2, 64, 128), use_cache=False)
    assert stack.flops(128, 64) == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_a_seven_billion_stack_takes_what_the_notes_measured() -> None:
    stack = Stack(layers=32, width=4096, query=4096, heads=32, mlp=11008, gated=True, matrices=6_476_005_376)
    assert stack.flops(700, 700) / 1e12 == pytest.approx(9.1, rel=0.05)
    assert stack.saved(700, 2) > stack.saved_with_checkpointing(700, 2, 2) * 8
