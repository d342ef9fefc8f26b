from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.masks import MaskFile
from data.sample import Sample
from eval.segmentation.prompts import TextSource, derangement, evaluation_prompts, shown_description


def make_samples(folder: Path) -> list[Sample]:
    samples = []
    for index, corner in enumerate([(2, 2), (40, 2), (2, 40), (40, 40)]):
        mask = np.zeros((48, 48), np.uint8)
        mask[corner[0] : corner[0] + 5, corner[1] : corner[1] + 5] = 255
        image, mask_path = folder / f"{index}.png", folder / f"{index}_mask.png"
        cv2.imwrite(str(image), np.full((48, 48, 3), 90, np.uint8))
        cv2.imwrite(str(mask_path), mask)
        samples.append(
            Sample(
                id=f"x/{index}",
                dataset="x",
                category="washer",
                split="test",
                image=image,
                defect="hole",
                mask=MaskFile(mask_path),
            )
        )
    return samples


@pytest.mark.parametrize("count", [2, 3, 10, 101])
def test_derangement_moves_everything(count: int) -> None:
    order = derangement(count, 0)
    assert sorted(order) == list(range(count))
    assert all(index != value for index, value in enumerate(order))
    assert order == derangement(count, 0)


def test_derangement_depends_on_the_seed() -> None:
    assert derangement(50, 0) != derangement(50, 1)


def test_each_source_says_its_own(tmp_path: Path) -> None:
    samples = make_samples(tmp_path)
    descriptions = {sample.id: f"Text {sample.id}." for sample in samples}
    told = {source: evaluation_prompts(samples, source, descriptions, 0) for source in TextSource}
    assert [shown_description(text) for text in told[TextSource.eddm]] == list(descriptions.values())
    assert len(set(told[TextSource.fixed])) == 1 and shown_description(told[TextSource.fixed][0]) == ""
    assert "top left" in told[TextSource.oracle][0] and "bottom right" in told[TextSource.oracle][3]
    assert sorted(told[TextSource.shuffled]) == sorted(told[TextSource.oracle])
    assert all(a != b for a, b in zip(told[TextSource.shuffled], told[TextSource.oracle], strict=True))


def test_a_missing_description_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No description for 4 of 4"):
        evaluation_prompts(make_samples(tmp_path), TextSource.eddm, {}, 0)


def test_one_text_cannot_be_shuffled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least two images"):
        evaluation_prompts(make_samples(tmp_path)[:1], TextSource.shuffled, {}, 0)
