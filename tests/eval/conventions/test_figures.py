import json
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from data.readers.mvtec_loco import read_mvtec_loco
from data.sample import Sample, load_mask
from eval.conventions.figures import ExtraFigures, extra_pixels, object_figures
from eval.metrics.pixels import pixel_metrics
from eval.metrics.saturation import SaturatedImage, SaturatedRegion, saturated_pro
from eval.metrics.scores import ScoredImage
from tests.data.readers.conftest import TREES  # type: ignore[import-not-found]


def view(number: int, group: str | None, defect: str | None = None) -> Sample:
    return Sample(
        id=str(number), dataset="d", category="c", split="test", image=Path(f"{number}.png"), defect=defect, group=group
    )


def test_an_object_is_one_decision() -> None:
    """By views 4 of 6 pairs are right; by objects both are: the worst view of the bad one is above all sound ones."""
    samples = [view(0, "a"), view(1, "a"), view(2, "b"), view(3, "c", "hole"), view(4, "c")]
    scores = {"0": 0.1, "1": 0.5, "2": 0.3, "3": 0.4, "4": 0.9}
    assert object_figures(samples, scores) == {"object_auroc": 1.0, "object_ap": 1.0, "object_f1_max": 1.0}
    scores["1"] = 1.0
    assert object_figures(samples, scores)["object_auroc"] == 0.5
    with pytest.raises(UserError, match="5 names no object"):
        object_figures([*samples, view(5, None)], scores | {"5": 0.0})


def test_miou_max_is_the_largest_iou_of_all_thresholds() -> None:
    draw, mask = np.random.default_rng(0), np.zeros((20, 20), bool)
    mask[5:11, 5:14] = True
    image = ScoredImage("a", draw.normal(size=mask.shape) + 2 * mask, mask)
    figures = extra_pixels([], [image], pixel_metrics([image]), ExtraFigures(legacy=True, ader=True))
    found = [image.anomaly_map >= threshold for threshold in image.anomaly_map.ravel()]
    assert figures["pixel_miou_max"] == pytest.approx(max((one & mask).sum() / (one | mask).sum() for one in found))
    assert list(figures) == ExtraFigures(legacy=True, ader=True).names


def test_saturation_areas_come_from_the_datasets_file(tmp_path: Path) -> None:
    TREES["mvtec_loco"](tmp_path)
    areas = [(255, 0.5, True), (251, 3, False), (250, 100, False)]
    entries = [
        {"defect_name": str(value), "pixel_value": value, "saturation_threshold": area, "relative_saturation": share}
        for value, area, share in areas
    ]
    (tmp_path / "pushpins/defects_config.json").write_text(json.dumps(entries))
    samples = [s for s in read_mvtec_loco(tmp_path) if s.category == "pushpins" and s.split == "test"]
    draw, images, saturated = np.random.default_rng(1), [], []
    for sample in samples:
        mask = load_mask(sample, (24, 32))
        images.append(ScoredImage(str(sample.image), draw.normal(size=mask.shape) + mask, mask))
        parts = {"logical anomaly": [(4, 8), (14, 3)], "structural anomaly": [(4, 16)]}.get(sample.defect or "", [])
        regions = []
        for top, area in parts:
            one = np.zeros_like(mask)
            one[top : top + 4, 6:10] = True
            regions.append(SaturatedRegion(np.flatnonzero(one), area))
        saturated.append(SaturatedImage(images[-1], tuple(regions)))
    assert [len(one.regions) for one in saturated] == [0, 2, 1]
    found = extra_pixels(samples, images, pixel_metrics(images), ExtraFigures(spro_limit=0.3))
    assert found["pixel_spro"] == pytest.approx(saturated_pro(saturated, 0.3), abs=1e-12)
    cut = [ScoredImage(one.name, one.anomaly_map[:10], one.mask[:10]) for one in images]
    with pytest.raises(UserError, match="is measured in part"):
        extra_pixels(samples, cut, pixel_metrics(cut), ExtraFigures(spro_limit=0.3))
