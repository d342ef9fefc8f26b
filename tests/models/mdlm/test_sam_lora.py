import pytest
import torch

from models.mdlm.sam import Sam, SamConfig, build_sam
from models.mdlm.sam_lora import SamLora, add_sam_lora, merge_sam_lora


def small() -> Sam:
    torch.manual_seed(0)
    values = {"image_size": 64, "patch_size": 16, "width": 32, "depth": 2, "heads": 2, "global_layers": [1]}
    sam = build_sam(SamConfig(**values, window=2, channels=32, decoder_heads=2, decoder_mlp=32))  # type: ignore[arg-type]
    sam.requires_grad_(False)
    return sam.eval()


def run(sam: Sam) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    pixels, prompts = torch.randn(2, 3, 64, 64, generator=generator), torch.randn(2, 32, generator=generator)
    return sam.decode(sam.encode(pixels), prompts)


@pytest.mark.parametrize(("part", "layers"), [(SamLora.decoder, 7 * 4), (SamLora.encoder, 2 * 2)])
def test_starts_as_the_base_learns_and_merges(part: SamLora, layers: int) -> None:
    sam = small()
    names = sam.state_dict().keys()
    before = run(sam)
    add_sam_lora(sam, part, rank=4, alpha=4, dropout=0.0)
    assert torch.equal(run(sam), before)
    run(sam).square().mean().backward()
    trainable = {name: p for name, p in sam.named_parameters() if p.requires_grad}
    assert len(trainable) == 2 * layers and all("lora_" in name for name in trainable)
    assert all(p.grad is not None for p in trainable.values())
    with torch.no_grad():
        for parameter in trainable.values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    learned = run(sam)
    assert not torch.allclose(learned, before, atol=1e-4)
    assert merge_sam_lora(sam) == layers
    torch.testing.assert_close(run(sam), learned, atol=1e-5, rtol=1e-4)
    assert sam.state_dict().keys() == names


def test_none_changes_nothing() -> None:
    sam = small()
    add_sam_lora(sam, SamLora.none, rank=4, alpha=4, dropout=0.0)
    assert not any(p.requires_grad for p in sam.parameters())
    assert merge_sam_lora(sam) == 0


def test_recomputing_gives_the_same_gradients() -> None:
    grads = []
    for recompute in (False, True):
        sam = small()
        add_sam_lora(sam, SamLora.encoder, rank=4, alpha=4, dropout=0.0)
        for name, parameter in sam.named_parameters():
            if "lora_B" in name:
                torch.nn.init.constant_(parameter, 0.02)
            elif "lora_A" in name:
                torch.nn.init.constant_(parameter, 0.01)
        sam.recompute = recompute
        out = run(sam)
        out.square().mean().backward()
        grads.append([out, *(p.grad for p in sam.parameters() if p.grad is not None)])
    for one, other in zip(*grads, strict=True):
        assert torch.equal(one, other)
