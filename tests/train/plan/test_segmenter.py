"""SAM and DAM: predicted bytes and operations beside real ones."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.mdlm.dam import DefectAnalysisModule
from models.mdlm.sam import Sam, SamAttention, SamConfig
from models.weights.shapes import build_sam_shape
from train.mdlm.losses import LossConfig, mask_loss
from train.plan.measure import LiveBytes
from train.plan.segmenter import Segmenter

MIDDLE = SamConfig(
    image_size=256, patch_size=8, width=64, depth=2, heads=4, global_layers=[1], window=7, channels=64,
    decoder_heads=8, decoder_mlp=128,
)  # fmt: skip


def describe(config: SamConfig, *, dam: bool = True, text_width: int = 48) -> Segmenter:
    sam = build_sam_shape(config)
    parts = [m for m in sam.image_encoder.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)]
    return Segmenter(
        cells=config.image_size // config.patch_size, width=config.width, depth=config.depth, heads=config.heads,
        window=config.window, global_layers=len(config.global_layers) if config.window else config.depth,
        relative=config.relative_positions,
        fused=config.attention is SamAttention.sdpa, matrices=sum(m.weight.numel() for m in parts),
        channels=config.channels,
        decoder_heads=config.decoder_heads, decoder_matrices=0, dam=dam, text_width=text_width, encoder_trained=False,
    )  # fmt: skip


@pytest.mark.parametrize("mixed", [False, True])
def test_what_decoder_dam_and_loss_keep(saved_bytes, mixed: bool) -> None:
    torch.manual_seed(0)
    sam = Sam(MIDDLE)
    sam.requires_grad_(False)
    sam.train_decoder()
    dam = DefectAnalysisModule(text_width=48, channels=64, heads=4)
    torch.nn.init.ones_(dam.gate)
    prompts, words = 3, 40
    visual, text = torch.randn(prompts, 64, 32, 32), torch.randn(prompts, words, 48, requires_grad=True)
    masks = (torch.rand(prompts, 128, 128) > 0.5).float()
    both = torch.nn.ModuleList([sam, dam])

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            seen = dam(visual, sam.positions(), text, torch.ones(prompts, words, dtype=torch.bool))
            logits = sam.decode(seen, torch.randn(prompts, 64, requires_grad=True))
            mask_loss(logits, masks, torch.ones_like(masks), LossConfig())

    measured = saved_bytes(both, run)
    predicted = describe(MIDDLE).decoder_saved(prompts, words, 2 if mixed else 4)
    assert predicted == pytest.approx(measured, rel=0.2)


@pytest.mark.parametrize("attention", list(SamAttention))
@pytest.mark.parametrize("relative", [True, False])
def test_what_the_frozen_encoder_needs_for_a_moment(relative: bool, attention: SamAttention) -> None:
    config = replace(MIDDLE, relative_positions=relative, attention=attention)
    sam = Sam(config).requires_grad_(False)
    pixels = torch.randn(2, 3, 256, 256)
    with LiveBytes() as live:
        live.add(list(sam.parameters()))
        before = live.now
        sam.encode(pixels)
    predicted = describe(config).encoder_working(2, 4)
    assert predicted == pytest.approx(live.peak - before, rel=0.25)


def test_operations_agree_with_the_counter_of_torch() -> None:
    sam = Sam(replace(MIDDLE, attention=SamAttention.eager))  # torch does not count fused attention on the CPU
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        sam.encode(torch.randn(1, 3, 256, 256))
    assert describe(MIDDLE).encoder_flops() == pytest.approx(counter.get_total_flops(), rel=0.1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        sam.decode(torch.randn(1, 64, 32, 32), torch.randn(1, 64))
    assert describe(MIDDLE, dam=False).decoder_flops() == pytest.approx(counter.get_total_flops(), rel=0.25)


def test_the_huge_encoder_takes_what_the_notes_measured() -> None:
    assert describe(SamConfig()).encoder_flops() / 1e12 == pytest.approx(5.96, rel=0.02)
