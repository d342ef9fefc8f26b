from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data.errors import UserError
from models.mdlm.sam import Sam, SamConfig, build_sam


def tiny(**changes: object) -> SamConfig:
    values = {
        "image_size": 64,
        "patch_size": 16,
        "width": 32,
        "depth": 2,
        "heads": 2,
        "global_layers": [1],
        "window": 2,
        "channels": 32,
        "decoder_heads": 2,
        "decoder_mlp": 32,
    }
    return SamConfig(**(values | changes))  # type: ignore[arg-type]


def test_a_batch_decodes_like_the_stock_decoder_one_by_one() -> None:
    torch.manual_seed(0)
    sam = build_sam(tiny()).eval()
    embeddings = sam.encode(torch.randn(3, 3, 64, 64))
    prompts = torch.randn(3, 32)
    batched = sam.decode(embeddings, prompts)
    for k in range(3):
        _, dense = sam.prompt_encoder(points=None, boxes=None, masks=None)
        alone, _ = sam.mask_decoder(
            image_embeddings=embeddings[k : k + 1],
            image_pe=sam.positions(),
            sparse_prompt_embeddings=prompts[k].reshape(1, 1, -1),
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        torch.testing.assert_close(batched[k], alone[0, 0], atol=1e-5, rtol=1e-4)


def test_sizes_with_and_without_a_stem() -> None:
    for config in (tiny(), tiny(patch_size=8, stem=[8, 16, 16])):
        sam = Sam(config)
        embeddings = sam.encode(torch.zeros(2, 3, 64, 64))
        cells = 64 // config.patch_size
        assert embeddings.shape == (2, 32, cells, cells)
        assert sam.decode(embeddings, torch.zeros(2, 32)).shape == (2, sam.mask_size, sam.mask_size)
        assert sam.mask_size == 4 * cells


def test_every_trainable_decoder_parameter_gets_a_gradient() -> None:
    sam = build_sam(tiny())
    sam.requires_grad_(False)
    sam.train_decoder()
    sam.decode(torch.randn(2, 32, 4, 4), torch.randn(2, 32)).square().mean().backward()
    missing = [n for n, p in sam.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    assert not any(p.requires_grad for p in sam.image_encoder.parameters())


def test_checkpoints_load_from_pth_and_safetensors(tmp_path: Path) -> None:
    source = build_sam(tiny())
    torch.save(source.state_dict(), tmp_path / "sam.pth")
    save_file(source.state_dict(), tmp_path / "sam.safetensors")
    for name in ("sam.pth", "sam.safetensors"):
        loaded = build_sam(tiny(checkpoint=str(tmp_path / name)))
        assert all(torch.equal(a, b) for a, b in zip(source.parameters(), loaded.parameters(), strict=True))


def test_bad_checkpoints_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No SAM checkpoint"):
        build_sam(tiny(checkpoint=str(tmp_path / "none.pth")))
    save_file(build_sam(tiny()).state_dict(), tmp_path / "sam.safetensors")
    with pytest.raises(UserError, match="does not fit"):
        build_sam(tiny(checkpoint=str(tmp_path / "sam.safetensors"), depth=3))
    with pytest.raises(UserError, match="patch_size=4"):
        build_sam(tiny(stem=[8, 16]))
