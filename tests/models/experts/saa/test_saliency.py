from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.experts.backbone import Backbone, BackboneConfig
from models.experts.saa import saliency
from models.experts.saa.saliency import extract_features, instance_saliency, single_saliency


@pytest.fixture
def features() -> torch.Tensor:
    return F.normalize(torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(0)), dim=0)


def cosine(features: torch.Tensor, first: tuple[int, int], second: tuple[int, int]) -> float:
    return float(features[:, first[0], first[1]] @ features[:, second[0], second[1]])


def test_single_saliency_against_its_definition(features: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saliency, "MOST_DISTANT", 7)
    monkeypatch.setattr(saliency, "BLOCK", 5)
    places = [(row, column) for row in range(4) for column in range(6)]
    found = single_saliency(features)
    for place in places:
        distances = sorted((0.5 * (1 - cosine(features, place, other)) for other in places), reverse=True)
        assert float(found[place]) == pytest.approx(np.mean(distances[:7]), abs=1e-6)


def test_a_grid_of_fewer_places_takes_all(features: torch.Tensor) -> None:
    flat = features.flatten(1)
    assert torch.allclose(single_saliency(features), (0.5 * (1 - flat.T @ flat)).mean(1).view(4, 6), atol=1e-6)


def test_instance_saliency_against_its_definition(features: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saliency, "BLOCK", 3)
    masks = torch.zeros(3, 4, 6, dtype=torch.bool)
    masks[0, :2, :2] = masks[1, 1:3, 1:4] = masks[2, 3, 4:] = True  # the first two share a place
    found = instance_saliency(features, masks)
    places = [{(int(row), int(column)) for row, column in mask.nonzero()} for mask in masks]
    for row in range(4):
        for column in range(6):
            scores = [0.0]
            for index, own in enumerate(places):
                if (row, column) in own:
                    others = set().union(*places[:index], *places[index + 1 :])
                    near = [0 if other in own else cosine(features, (row, column), other) for other in others]
                    scores.append(0.5 * (1 - max(near)))
            assert float(found[row, column]) == pytest.approx(max(scores), abs=1e-6)


def test_one_instance_has_nothing_to_compare_with(features: torch.Tensor) -> None:
    masks = torch.ones(1, 4, 6, dtype=torch.bool)
    assert not instance_saliency(features, masks).any()
    assert not instance_saliency(features, masks[:0]).any()


def test_the_odd_one_is_salient() -> None:
    """Three instances look the same, the fourth does not."""
    features = torch.zeros(2, 1, 4)
    features[0, 0, :3] = features[1, 0, 3] = 1
    found = instance_saliency(features, torch.eye(4, dtype=torch.bool).view(4, 1, 4))
    assert found.flatten().tolist() == pytest.approx([0, 0, 0, 0.5])


def test_features(tiny_backbone: BackboneConfig) -> None:
    """Stages on the first one's grid by repetition, concatenated, unit length; colours in RGB order."""
    backbone = Backbone(replace(tiny_backbone, layers=[1, 2]), torch.device("cpu"))
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    found = extract_features(backbone, image, 64)
    assert found.shape[1:] == (16, 16) and torch.allclose(found.norm(dim=0), torch.ones(16, 16), atol=1e-5)
    import cv2

    square = cv2.resize(image, (64, 64))
    with torch.inference_mode():
        first, second = backbone.model(backbone.prepare([square]))
    expected = torch.cat([first, second.repeat_interleave(2, 2).repeat_interleave(2, 3)], 1)
    assert torch.allclose(found, F.normalize(expected, dim=1)[0], atol=1e-4)
    assert not torch.allclose(found, extract_features(backbone, image[..., ::-1].copy(), 64), atol=1e-3)
