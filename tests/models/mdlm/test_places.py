"""Image and [SEG] tokens are found in reading order."""

import torch

from models.mdlm.places import find_places


def test_places_of_two_conversations() -> None:
    ids = torch.tensor([[9, 9, 5, 7, 0], [4, 9, 9, 7, 7]])  # 9 an image's, 7 [SEG], 0 padding
    mask = (ids > 0).long()
    places = find_places(ids, mask, torch.tensor([1, 0]), seg_id=7, image_id=9)
    assert places.image_at.tolist() == [0, 1, 6, 7]
    assert places.seg_row.tolist() == [0, 1, 1] and places.seg_at.tolist() == [3, 3, 4]
    assert places.images == [1, 0] and places.padded
    assert not find_places(ids[1:], mask[1:], torch.tensor([0]), seg_id=7, image_id=9).padded
    assert places.to("meta").seg_at.device.type == "meta" and places.to("meta").images == [1, 0]
