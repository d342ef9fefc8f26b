from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.experts.backbone import BackboneConfig
from models.experts.patchcore import PatchCoreConfig


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> BackboneConfig:
    """A small ResNet of timm with random weights in a file."""
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements.txt")
    torch.manual_seed(0)
    path: Path = tmp_path_factory.mktemp("backbone") / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    return BackboneConfig(name="test_resnet", weights=str(path), layers=[1, 2], image_size=64)


@pytest.fixture
def tiny_patchcore(tiny_backbone: BackboneConfig) -> PatchCoreConfig:
    return PatchCoreConfig(backbone=tiny_backbone, memory_share=0.5, projection=0, batch_size=4)
