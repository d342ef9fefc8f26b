"""Which checkpoints an expert sees with, and that the table of checkpoints knows them."""

import pytest

from data.errors import UserError
from models.experts.clip.backbone import ClipConfig
from models.experts.load import ON_CLIP, ExpertName
from models.experts.saa.expert import SAAConfig
from models.weights.table import checkpoints, find_checkpoint
from models.weights.wanted import wanted_by_expert


@pytest.mark.parametrize("name", [*ON_CLIP, ExpertName.saa_plus])
def test_the_table_lists_exactly_what_an_expert_needs(name: str) -> None:
    wanted = wanted_by_expert(name, ClipConfig(), SAAConfig())
    entries = {item.place: find_checkpoint(item.place) for item in wanted}
    assert {entry.name for entry in entries.values() if entry} == {
        entry.name for entry in checkpoints().values() if name in entry.experts
    }
    for item in wanted:
        entry = entries[item.place]
        assert entry and f"expert={name}" in item.users
        assert item.key == entry.key or (entry.name, item.key) == ("sam-vit-h", "saa.sam.checkpoint")


def test_what_is_fitted_here_wants_no_checkpoint() -> None:
    for name in ("patchcore", "ddad", "oracle", "precomputed"):
        assert wanted_by_expert(name, ClipConfig(), SAAConfig()) == []


def test_another_clip_needs_its_file() -> None:
    with pytest.raises(UserError, match=r"Give clip\.checkpoint=FILE with the weights of ViT-L-14"):
        wanted_by_expert("winclip", ClipConfig(model="ViT-L-14"), SAAConfig())
    (item,) = wanted_by_expert("winclip", ClipConfig(model="ViT-B-32", checkpoint="b32.pt"), SAAConfig())
    assert (item.place, item.inside) == ("b32.pt", "") and item.wanting is not None
    assert item.wanting().shapes["visual.conv1.weight"] == (768, 3, 32, 32)
    (item,) = wanted_by_expert("winclip", ClipConfig(model="ViT-Q", checkpoint="q.pt"), SAAConfig())
    with pytest.raises(UserError, match="open_clip has no model 'ViT-Q'"):
        item.wanting()  # type: ignore[misc]
