import json
import shutil

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.masks import mask_defects
from data.readers.mvtec_loco import read_mvtec_loco, saturation_areas
from data.sample import load_image, load_mask
from data.source import Source, load_samples


def test_reads_the_layout(write_tree) -> None:
    samples = [s for s in read_mvtec_loco(write_tree("mvtec_loco")) if s.category == "pushpins"]
    assert [(s.split, s.defect) for s in samples] == [
        ("train", None),
        ("validation", None),
        ("test", None),
        ("test", "logical anomaly"),
        ("test", "structural anomaly"),
    ]


def test_the_mask_is_the_union_of_all_files_and_their_values_name_the_defects(write_tree) -> None:
    samples = {s.id: s for s in read_mvtec_loco(write_tree("mvtec_loco"))}
    sample = samples["mvtec_loco/pushpins/test/logical_anomalies/000.png"]
    mask = load_mask(sample, load_image(sample.image).shape[:2])
    assert mask.sum() == 32 and mask[4, 6] and mask[14, 6]
    assert mask_defects(sample.mask) == ["missing pushpin", "one additional pushpin"]
    nameless = samples["mvtec_loco/juice_bottle/test/logical_anomalies/000.png"]
    with pytest.raises(UserError, match="No names for the pixel values"):
        mask_defects(nameless.mask)


def test_a_union_that_is_empty_can_be_skipped(write_tree) -> None:
    root = write_tree("mvtec_loco")
    empty = root / "pushpins/ground_truth/structural_anomalies/007/000.png"
    empty.write_bytes(cv2.imencode(".png", np.zeros((24, 32), np.uint8))[1].tobytes())
    listing = load_samples([Source(reader="mvtec_loco", root=str(root), skip_empty_masks=True)])
    assert [name for name, _ in listing.skipped] == ["mvtec_loco/pushpins/test/structural_anomalies/007.png"]


def test_missing_and_stray_masks_are_named(write_tree) -> None:
    root = write_tree("mvtec_loco")
    truth = root / "pushpins/ground_truth/structural_anomalies"
    (truth / "007/000.png").rename(truth / "007/000.txt")
    with pytest.raises(UserError, match=r"Image without its masks: .*structural_anomalies/007\.png needs files in"):
        read_mvtec_loco(root)
    (truth / "007/000.txt").rename(truth / "007/000.png")
    shutil.copytree(truth / "007", truth / "009")
    with pytest.raises(UserError, match=r"Mask without its image: .*structural_anomalies/009"):
        read_mvtec_loco(root)


@pytest.mark.parametrize("text", ['{"a": 1}', '[{"defect_name": "x"}]', '[{"defect_name": "x", "pixel_value": "y"}]'])
def test_a_malformed_config_is_named(write_tree, text: str) -> None:
    root = write_tree("mvtec_loco")
    (root / "pushpins/defects_config.json").write_text(text)
    with pytest.raises(UserError, match=r"Not a defects config: .*pushpins/defects_config\.json"):
        read_mvtec_loco(root)


def test_a_torn_config_is_named(write_tree) -> None:
    root = write_tree("mvtec_loco")
    (root / "pushpins/defects_config.json").write_text('[{"defect_name": "x"')
    with pytest.raises(UserError, match=r"Not valid JSON: .*defects_config\.json"):
        read_mvtec_loco(root)


def entry(value: int = 255, area: object = 1.0, relative: object = True) -> dict[str, object]:
    return {"defect_name": "x", "pixel_value": value, "saturation_threshold": area, "relative_saturation": relative}


def test_saturation_areas_are_pixels_or_shares(write_tree) -> None:
    root = write_tree("mvtec_loco")
    config = root / "pushpins/defects_config.json"
    samples = {s.id: s for s in read_mvtec_loco(root)}
    sample = samples["mvtec_loco/pushpins/test/logical_anomalies/000.png"]
    for area, relative, expected in ((1.0, True, 16), (0.4, True, 6), (0.01, True, 1), (5, False, 5), (99, False, 16)):
        config.write_text(json.dumps([entry(255, area, relative), entry(251, 2, False)]))
        (first, found), (second, other) = saturation_areas(sample)
        assert (first.sum(), found, second.sum(), other) == (16, expected, 16, 2)
        assert first[4, 6] and second[14, 6] and not (first & second).any()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry(255)], r"defects_config\.json does not fit .*001\.png: the mask has pixel values \[251\]"),
        ([entry(255, 1.5), entry(251)], "No saturation areas in"),
        ([entry(255, 0, False), entry(251)], "No saturation areas in"),
        ([{"defect_name": "x", "pixel_value": 255}], "No saturation areas in"),
        (None, "No saturation areas at"),
    ],
)
def test_saturation_areas_that_do_not_fit_are_named(write_tree, entries, message: str) -> None:
    root = write_tree("mvtec_loco")
    (sample,) = [s for s in read_mvtec_loco(root) if s.id == "mvtec_loco/pushpins/test/logical_anomalies/000.png"]
    config = root / "pushpins/defects_config.json"
    config.unlink() if entries is None else config.write_text(json.dumps(entries))
    with pytest.raises(UserError, match=message):
        saturation_areas(sample)
