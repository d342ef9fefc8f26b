from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.experts.backbone import BackboneConfig
from models.experts.saa.detector import DetectorConfig
from models.experts.saa.expert import SAAConfig
from models.mdlm.sam import Sam, SamConfig


def write_detector(folder: Path, **sizes: object) -> Path:
    """A GroundingDINO with random weights and a tokenizer of letters, in transformers' format.

    Args:
        folder: Where to.
        sizes: Of `GroundingDinoConfig`; none gives the sizes of the published checkpoint.
    """
    from transformers import (
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    words = [f"[unused{index}]" for index in range(1100)]
    words[0], words[100], words[101], words[102], words[103] = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
    words[1012], words[1029] = ".", "?"  # where the model looks for them
    letters = string.ascii_lowercase + string.digits
    words[200 : 200 + 2 * len(letters)] = [*letters, *(f"##{letter}" for letter in letters)]
    for index, word in enumerate(["defect", "damage", "flaw", "on", "nut", "ring", "dark", "crack"]):
        words[400 + index] = word
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    size = {"shortest_edge": 128, "longest_edge": 192}
    processor = GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer)
    torch.manual_seed(0)
    model = GroundingDinoForObjectDetection(GroundingDinoConfig(**sizes))
    with torch.no_grad():  # untrained box heads are zero: every box would be its anchor
        for name, value in model.named_parameters():
            if "bbox_embed" in name and name.endswith("layers.2.weight"):
                value.normal_(0, 0.05)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


TINY_SAM = {
    "image_size": 64,
    "patch_size": 8,
    "width": 32,
    "depth": 2,
    "heads": 2,
    "global_layers": [1],
    "window": 4,
    "channels": 32,
}


@pytest.fixture
def make_detector() -> Callable[..., Path]:
    """Writes a GroundingDINO; see `write_detector`."""
    return write_detector


@pytest.fixture(scope="session")
def tiny_saa(tmp_path_factory: pytest.TempPathFactory) -> SAAConfig:
    """An SAA+ of the true classes at tiny sizes, random weights."""
    return write_saa(tmp_path_factory.mktemp("saa"))


def write_saa(folder: Path) -> SAAConfig:
    """Writes such an SAA+."""
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements.txt")
    torch.manual_seed(0)
    backbone = folder / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), backbone)
    sam = SamConfig(checkpoint=str(folder / "sam.safetensors"), decoder_heads=2, decoder_mlp=64, **TINY_SAM)
    save_file(Sam(sam).state_dict(), folder / "sam.safetensors")
    vision = {
        "model_type": "swin",
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 4,
        "image_size": 64,
        "out_indices": [2, 3, 4],
    }
    text = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 1100,
    }
    layers = {"encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    detector = write_detector(
        folder / "dino",
        backbone_config=vision,
        text_config=text,
        d_model=32,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_queries=20,
        **layers,
    )
    return SAAConfig(
        dino=DetectorConfig(path=str(detector)),
        sam=sam,
        backbone=BackboneConfig(name="test_resnet", weights=str(backbone), layers=[1, 2, 3], image_size=64, pool=1),
        several_size=128,
        device="cpu",
    )


@pytest.fixture
def images() -> list[np.ndarray]:
    """Three images of different sizes and contents."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((60, 80), (80, 60), (64, 64))]
