"""What every reader promises, on the generated tree of each."""

from collections import defaultdict
from pathlib import PurePosixPath

import cv2
import numpy as np
import pytest

from data.masks import defect_regions
from data.readers import READERS
from data.sample import load_image, load_mask


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a reader decoded pixels")

    for module, name in ((cv2, "imdecode"), (cv2, "imread"), (np, "fromfile")):
        monkeypatch.setattr(module, name, refuse)


@pytest.mark.parametrize("name", sorted(READERS))
def test_listing(name: str, write_tree, no_decoding) -> None:
    root = write_tree(name)
    samples = READERS[name](root)
    assert samples == READERS[name](root)
    assert {sample.is_normal for sample in samples} >= {False}
    assert len({sample.id for sample in samples}) == len(samples)
    groups = defaultdict(list)
    for sample in samples:
        dataset, path = sample.id.split("/", 1)
        assert (dataset, sample.dataset) == (name, name)
        assert not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts
        assert root / path == sample.image
        assert sample.is_normal == (sample.defect is None) == (sample.mask is None)
        groups[sample.category, sample.split].append(PurePosixPath(path).parts)
    assert all(paths == sorted(paths) for paths in groups.values())
    categories = [sample.category for sample in samples]
    assert categories == sorted(categories)


@pytest.mark.parametrize("name", sorted(READERS))
def test_pixels(name: str, write_tree) -> None:
    for sample in READERS[name](write_tree(name)):
        image = load_image(sample.image)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        mask = load_mask(sample, image.shape[:2])
        assert mask.dtype == bool and mask.shape == image.shape[:2]
        assert mask.any() != sample.is_normal
        if sample.mask is not None:
            assert defect_regions(sample.mask, mask)
