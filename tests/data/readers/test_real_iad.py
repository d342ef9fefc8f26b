import json
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.readers.real_iad import NO_MASK, read_real_iad
from data.sample import load_image, load_mask
from data.source import Source, load_samples

CATEGORY = "plastic_nut"


def record(code: str, number: int, view: int, masked: bool = False) -> dict[str, Any]:
    folder = "OK" if code == "OK" else f"NG/{code}"
    name = f"{CATEGORY}_{number:04d}_{folder.replace('/', '_')}_C{view}_20231004133152"
    stem = f"{folder}/S{number:04d}/{name}"
    mask = f"{stem}.png" if masked else None
    return {"category": CATEGORY, "anomaly_class": code, "image_path": f"{stem}.jpg", "mask_path": mask}


RECORDS = {
    "train": [record("OK", 1, 1), record("OK", 1, 2)],
    "test": [record("OK", 44, 1), record("AK", 44, 1, masked=True), record("AK", 44, 2), record("ZW", 45, 1, True)],
}


def write_real_iad(
    root: Path,
    draw,
    records: dict[str, Any] = RECORDS,
    resolution: str = "1024",
    jsons: str = "realiad_jsons/realiad_jsons",
) -> Path:
    folder = root / f"realiad_{resolution}" / CATEGORY
    for row in [row for rows in RECORDS.values() for row in rows]:
        draw(folder / row["image_path"])
        if row["mask_path"]:
            draw(folder / row["mask_path"], square=255)
    path = root / jsons / f"{CATEGORY}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"meta": {"prefix": f"{CATEGORY}/", "normal_class": "OK"}, **records}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content, indent=1).replace("\n", "\r\n").encode())
    return root


@pytest.mark.parametrize("jsons", ["realiad_jsons", "realiad_jsons/realiad_jsons"])
@pytest.mark.parametrize("resolution", ["256", "512", "1024", "raw"])
def test_reads_every_resolution_and_nesting(tmp_path: Path, draw, resolution: str, jsons: str) -> None:
    listed = read_real_iad(write_real_iad(tmp_path / "Real IAD ü", draw, resolution=resolution, jsons=jsons))
    assert [(s.split, s.defect) for s in listed.samples] == [
        ("train", None),
        ("train", None),
        ("test", None),
        ("test", "pit"),
        ("test", "contamination"),
    ]
    assert listed.samples[0].id == f"real_iad/realiad_{resolution}/{CATEGORY}/{RECORDS['train'][0]['image_path']}"
    for sample in listed.samples:
        assert load_mask(sample, load_image(sample.image).shape[:2]).sum() == (0 if sample.is_normal else 100)


def test_a_view_without_a_visible_defect_is_left_out_and_listed(tmp_path: Path, draw) -> None:
    listed = load_samples([Source(reader="real_iad", root=str(write_real_iad(tmp_path, draw)))])
    assert listed.skipped == [(f"real_iad/realiad_1024/{CATEGORY}/{RECORDS['test'][2]['image_path']}", NO_MASK)]


def test_the_views_of_one_object_share_a_group(tmp_path: Path, draw) -> None:
    groups = [sample.group for sample in read_real_iad(write_real_iad(tmp_path, draw)).samples]
    assert groups == [
        "real_iad/plastic_nut/OK/S0001",
        "real_iad/plastic_nut/OK/S0001",
        "real_iad/plastic_nut/OK/S0044",
        "real_iad/plastic_nut/NG/S0044",
        "real_iad/plastic_nut/NG/S0045",
    ]


def test_several_resolutions_need_the_option(tmp_path: Path, draw) -> None:
    write_real_iad(tmp_path, draw, resolution="256")
    write_real_iad(tmp_path, draw, resolution="1024")
    with pytest.raises(UserError, match=r"Several resolutions .*realiad_256, realiad_1024.*option resolution"):
        read_real_iad(tmp_path)
    source = Source(reader="real_iad", root=str(tmp_path), options={"resolution": 256})  # as YAML reads it
    assert {s.image.parts[len(tmp_path.parts)] for s in load_samples([source]).samples} == {"realiad_256"}
    with pytest.raises(UserError, match="Unknown resolution '300'"):
        read_real_iad(tmp_path, resolution="300")


def test_another_folder_of_annotations_is_an_option(tmp_path: Path, draw) -> None:
    write_real_iad(tmp_path, draw, jsons="realiad_jsons/realiad_jsons_sv")
    with pytest.raises(UserError, match="No JSON files of Real-IAD"):
        read_real_iad(tmp_path)
    assert read_real_iad(tmp_path, annotations="realiad_jsons_sv").samples
    write_real_iad(tmp_path, draw, jsons="realiad_jsons_sv")
    with pytest.raises(UserError, match="JSON files of Real-IAD in two places"):
        read_real_iad(tmp_path, annotations="realiad_jsons_sv")


def test_a_category_without_images_is_listed_and_one_without_a_file_is_refused(tmp_path: Path, draw) -> None:
    jsons = write_real_iad(tmp_path, draw) / "realiad_jsons/realiad_jsons"
    (jsons / "zipper.json").write_text("{}")
    (skipped,) = [skipped for skipped in read_real_iad(tmp_path).skipped if skipped.category == "zipper"]
    assert skipped.reason == "the category has no images"
    (jsons / f"{CATEGORY}.json").unlink()
    with pytest.raises(UserError, match=rf"Images without annotations: no {CATEGORY}\.json"):
        read_real_iad(tmp_path)


def change(**changes: Any) -> dict[str, Any]:
    return {**RECORDS, "test": [RECORDS["test"][1] | changes]}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (change(anomaly_class="XX"), r"Unknown defect 'XX' in real_iad, found in .*plastic_nut\.json"),
        (change(image_path="../x/OK/S0001/a.jpg"), r"Path outside its folder: '\.\./x/OK/S0001/a\.jpg'"),
        (change(mask_path="NG/AK/../../../x/a.png"), r"Path outside its folder: 'NG/AK"),
        (change(image_path="/etc/a.jpg"), r"Path outside its folder: '/etc/a\.jpg'"),
        (change(image_path="NG/AK/S0044/gone.jpg"), r"Missing file: .*gone\.jpg, named in .*plastic_nut\.json"),
        (change(mask_path="NG/AK/S0044/gone.png"), r"Missing file: .*gone\.png"),
        (change(anomaly_class="OK"), r"Mask of a normal image in .*plastic_nut\.json"),
        (change(mask_path=5), r"no str 'mask_path'"),
        ({"train": []}, r"no list 'test'"),
        ({"train": [], "test": ["row"]}, r"no str 'image_path' in 'row'"),
    ],
)
def test_bad_annotations_are_named(tmp_path: Path, draw, records: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_real_iad(write_real_iad(tmp_path, draw, records))


@pytest.mark.parametrize("key", ["image_path", "mask_path"])
def test_a_link_that_leads_out_is_named_and_a_linked_folder_is_fine(tmp_path: Path, draw, key: str) -> None:
    root = write_real_iad(tmp_path / "root", draw)
    (root / "realiad_1024").rename(tmp_path / "disk")
    (root / "realiad_1024").symlink_to(tmp_path / "disk")
    assert read_real_iad(root).samples
    name = RECORDS["test"][1][key]
    path = root / "realiad_1024" / CATEGORY / name
    path.rename(tmp_path / "file")
    path.symlink_to(tmp_path / "file")
    with pytest.raises(UserError, match=rf"Path outside its folder: '{name}' in .*json is a link to .*file"):
        read_real_iad(root)


def test_a_path_without_the_objects_folder_is_named(tmp_path: Path, draw) -> None:
    draw(write_real_iad(tmp_path, draw, change(image_path="NG/a.jpg")) / f"realiad_1024/{CATEGORY}/NG/a.jpg")
    with pytest.raises(UserError, match=r"'NG/a\.jpg' has no folder of its object"):
        read_real_iad(tmp_path)


def test_a_truncated_file_is_named(tmp_path: Path, draw) -> None:
    path = write_real_iad(tmp_path, draw) / "realiad_jsons/realiad_jsons" / f"{CATEGORY}.json"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"Not valid JSON: .*plastic_nut\.json, line"):
        read_real_iad(tmp_path)


def test_a_mask_for_no_image_is_named(tmp_path: Path, draw) -> None:
    draw(write_real_iad(tmp_path, draw) / f"realiad_1024/{CATEGORY}/NG/AK/S0044/other.png", square=255)
    with pytest.raises(UserError, match=r"Mask without its image: .*other\.png"):
        read_real_iad(tmp_path)


def test_a_root_without_the_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No images of Real-IAD in .*realiad_256 or realiad_512"):
        read_real_iad(tmp_path)
