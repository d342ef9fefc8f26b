"""A small PatchCore for the fits."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.experts.backbone import BackboneConfig
from models.experts.patchcore import PatchCoreConfig


@pytest.fixture
def patchcore(tmp_path: Path) -> PatchCoreConfig:
    """Over an untrained network that is tiny and always the same."""
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements.txt")
    torch.manual_seed(0)
    path = tmp_path / "backbone.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    backbone = BackboneConfig(name="test_resnet", weights=str(path), layers=[1, 2], image_size=64)
    return PatchCoreConfig(backbone=backbone, memory_share=0.5, batch_size=4, blur=1.0)
