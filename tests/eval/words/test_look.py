from __future__ import annotations

from pathlib import Path

import numpy as np

from data.ddqa.regions import REGIONS
from data.masks import MaskFile
from data.sample import Sample
from eval.words.look import look_at, strongest_region


def make_sample(defect: str | None) -> Sample:
    mask = MaskFile(Path("m.png")) if defect else None
    return Sample(id="x", dataset="x", category="nut", split="test", image=Path("i.png"), defect=defect, mask=mask)


def test_the_strongest_region_holds_most_of_the_strongest_pixels() -> None:
    anomaly_map = np.zeros((60, 60), np.float32)
    anomaly_map[2, 2] = 1.0  # one bright pixel against a patch
    anomaly_map[45:50, 45:50] = 0.9
    assert strongest_region(anomaly_map) == "bottom right"
    for index, name in enumerate(REGIONS):
        single = np.zeros((60, 90), np.float32)
        single[20 * (index // 3) + 9, 30 * (index % 3) + 9] = 0.2
        assert strongest_region(single) == name
    assert strongest_region(np.full((9, 9), 0.7)) is None


def test_a_defect_is_where_its_largest_mark_is_and_touches_what_it_reaches() -> None:
    truth = np.zeros((60, 60), bool)
    truth[25:35, 15:44] = True  # from the left over the centre to the right
    truth[2:4, 2:4] = True
    look = look_at(make_sample("crack"), truth.astype(np.float32) / 2, truth)
    assert (look.peak, look.strongest, look.region) == (0.5, "center", "center")
    assert look.touched == {"left", "center", "right", "top left"}


def test_a_sound_image_has_a_map_but_no_place() -> None:
    look = look_at(make_sample(None), np.eye(9), np.zeros((9, 9), bool))
    assert look.peak == 1 and look.strongest and look.region is None and not look.touched
