import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam as StockSam

from models.experts.saa import segmenter
from models.experts.saa.expert import SAAConfig
from models.experts.saa.segmenter import Segmenter
from models.mdlm.sam import build_sam

BOXES = torch.tensor([[0.1, 0.2, 0.5, 0.9], [0.0, 0.0, 0.3, 0.3], [0.4, 0.5, 0.9, 1.0]])


@pytest.fixture
def maker(tiny_saa: SAAConfig) -> Segmenter:
    return Segmenter(build_sam(tiny_saa.sam), torch.device("cpu"))


def test_masks_are_those_of_the_stock_predictor(maker: Segmenter, images: list[np.ndarray]) -> None:
    """segment_anything's own predictor, in RGB, with the same weights."""
    sam = maker.sam
    stock = SamPredictor(StockSam(sam.image_encoder, sam.prompt_encoder, sam.mask_decoder).eval())
    for image in images:
        height, width = image.shape[:2]
        stock.set_image(image)
        corners = stock.transform.apply_boxes_torch(BOXES * torch.tensor([width, height] * 2), (height, width))
        expected = stock.predict_torch(None, None, corners, multimask_output=False)[0][:, 0].numpy()
        found = np.stack(list(maker.segment(image, maker.embed(image), BOXES)))
        assert found.shape == (3, height, width) and found.dtype == bool and found.any() and not found.all()
        assert (found == expected).mean() > 0.999  # a logit next to zero may fall on either side


def test_boxes_at_a_time(maker: Segmenter, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = maker.embed(images[0])
    together = list(maker.segment(images[0], embedding, BOXES))
    monkeypatch.setattr(segmenter, "BOXES", 2)
    apart = list(maker.segment(images[0], embedding, BOXES))
    assert all((first == second).mean() > 0.999 for first, second in zip(together, apart, strict=True))
    assert list(maker.segment(images[0], embedding, BOXES[:0])) == []
