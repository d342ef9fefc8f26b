"""What every reader promises, on the generated tree of each."""

from collections import defaultdict
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest

from data.doctor.examine import DoctorConfig, examine
from data.masks import defect_regions
from data.readers.listing import Listed
from data.readers.registry import READERS
from data.sample import Sample, load_image, load_mask


def read(name: str, root: Path) -> list[Sample]:
    listed = READERS[name](root)
    return listed.samples if isinstance(listed, Listed) else listed


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a reader decoded pixels")

    for module, name in ((cv2, "imdecode"), (cv2, "imread"), (np, "fromfile")):
        monkeypatch.setattr(module, name, refuse)


@pytest.mark.parametrize("name", sorted(READERS))
def test_listing(name: str, write_tree, no_decoding) -> None:
    root = write_tree(name)
    samples = read(name, root)
    assert samples == read(name, root)
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
    for sample in read(name, write_tree(name)):
        image = load_image(sample.image)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        mask = load_mask(sample, image.shape[:2])
        assert mask.dtype == bool and mask.shape == image.shape[:2]
        assert mask.any() != sample.is_normal
        if sample.mask is not None:
            assert defect_regions(sample.mask, mask)


@pytest.mark.parametrize("name", sorted(READERS))
def test_the_doctor_recognises_it_and_finds_no_error(name: str, write_tree, tmp_path: Path) -> None:
    root = write_tree(name)
    diagnosis = examine(DoctorConfig(workers=1, cache=str(tmp_path / "cache")), str(root))
    assert (diagnosis.found.reader, diagnosis.found.root) == (name, root)
    assert {item.code for item in diagnosis.problems} <= {"count-differs"}
