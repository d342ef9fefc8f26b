"""A tiny untrained MDLM of the real classes, built once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.mdlm.dam import DamConfig
from models.mdlm.llava import LlavaConfig, add_seg_token
from models.mdlm.model import MDLM, MDLMConfig, build_mdlm, build_processor
from models.mdlm.sam import SamConfig, build_sam
from models.tiny.llava_sam import TinyLlavaConfig, build_tiny_llava, build_tiny_tokenizer

TEXTS = ["The image shows a washer. There is a scratch at the top left.", "There is no visible defect."]


def tiny_sam_config() -> SamConfig:
    return SamConfig(
        image_size=64,
        patch_size=8,
        width=32,
        depth=1,
        heads=2,
        global_layers=[0],
        window=0,
        relative_positions=False,
        stem=[8, 16, 32],
        channels=32,
        decoder_heads=2,
        decoder_mlp=32,
    )


def make_mdlm(config: MDLMConfig | None = None) -> MDLM:
    torch.manual_seed(0)
    config = config or MDLMConfig(llava=LlavaConfig(path=""), sam=tiny_sam_config())
    config.dam.heads = 4
    tokenizer = build_tiny_tokenizer(TEXTS * 20, 320)
    llava = build_tiny_llava(
        TinyLlavaConfig(width=32, layers=2, heads=2, mlp=48, tile_size=32, vision_width=16), tokenizer, seed=0
    )
    seg_id = add_seg_token(llava, tokenizer)
    sam = build_sam(config.sam)
    processor = build_processor(llava, tokenizer, sam, config.llava)
    return build_mdlm(llava, seg_id, sam, config, processor).eval()


def write_base(folder: Path) -> MDLMConfig:
    """Writes base checkpoints of an untrained tiny MDLM and returns the config that names them."""
    model = make_mdlm()
    assert model.processor is not None
    model.llava.model.unload().save_pretrained(folder / "llava")  # type: ignore[union-attr, operator]
    model.processor.tokenizer.save_pretrained(folder / "llava")
    save_file(model.sam.state_dict(), folder / "sam.safetensors")
    save_file(model.projection.state_dict(), folder / "heads.safetensors")
    sam = replace(tiny_sam_config(), checkpoint=str(folder / "sam.safetensors"))
    return MDLMConfig(
        llava=LlavaConfig(path=str(folder / "llava")),
        sam=sam,
        dam=DamConfig(heads=4),
        heads=str(folder / "heads.safetensors"),
    )


@pytest.fixture
def base_config(tmp_path: Path) -> MDLMConfig:
    return write_base(tmp_path / "mdlm" / "base")


@pytest.fixture(scope="session")
def mdlm() -> MDLM:
    return make_mdlm()


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((48, 80), (64, 64), (90, 40))]
