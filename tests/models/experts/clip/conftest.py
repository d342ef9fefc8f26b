"""A CLIP of the true classes, small, with random weights in a file."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from models.experts.clip.backbone import Clip, ClipConfig

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 80, "layers": 8, "width": 64, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a CLIP that open_clip knows as `tiny-clip`, drawn once."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-clip.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-clip.json")
    return write_weights("tiny-clip", folder / "clip.safetensors")


def write_weights(model: str, path: Path) -> Path:
    """Random weights of a model of open_clip."""
    torch.manual_seed(0)
    state = open_clip.create_model(model, load_weights=False, pretrained_text=False).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


@pytest.fixture(scope="session")
def clip(checkpoint: Path) -> Clip:
    """The small CLIP at 96 pixels: a grid of 6 x 6, one larger than its own."""
    return Clip(ClipConfig(model="tiny-clip", checkpoint=str(checkpoint), image_size=96, device="cpu"))
