from __future__ import annotations

import pytest

from data.errors import UserError
from data.files import write_json
from data.masks import Box
from data.run import Run
from data.source import Source, load_samples
from eval.segmentation.decoys import decoy_boxes


def test_boxes_by_sample_id(run: Run) -> None:
    sources = [Source(reader="mvtec_ad", root=str(run.data / "unseen"))]
    boxes = decoy_boxes(sources, load_samples(sources).samples)
    assert boxes == {f"mvtec_ad/{name}/test/hole/005.png": [Box(22, 22, 28, 28)] for name in ("tile", "washer")}


def test_other_datasets_have_none(run: Run) -> None:
    sources = [Source(reader="mvtec_ad", root=str(run.data / "unseen"))]
    samples = load_samples(sources).samples
    (run.data / "unseen" / "factory.json").unlink()
    assert decoy_boxes(sources, samples) == {}


@pytest.mark.parametrize("listed", [[{"image": "a.png"}], {"more": 1}, 3])
def test_a_damaged_list_is_named(run: Run, listed: object) -> None:
    write_json(run.data / "unseen" / "factory.json", listed)
    with pytest.raises(UserError, match=r"factory\.json"):
        decoy_boxes([Source(reader="mvtec_ad", root=str(run.data / "unseen"))], [])
