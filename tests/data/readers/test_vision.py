import json
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.masks import Box, defect_regions
from data.readers.vision import read_vision
from data.sample import load_image, load_mask
from data.source import Source, load_samples

LEFT, RIGHT = [5, 5, 15, 5, 15, 15, 5, 15], [30, 5, 40, 5, 40, 15, 30, 15]


def write_split(folder: Path, draw, names: dict[int, str], records: list[tuple[int, int, Any]], images: int) -> Path:
    """Writes `images` images and a COCO file; a record is (image id, category id, segmentation)."""
    for number in range(images):
        draw(folder / f"{number:06d}.jpg")
    coco = {
        "categories": [{"id": number, "name": name} for number, name in names.items()],
        "images": [{"id": n, "file_name": f"{n:06d}.jpg", "height": 40, "width": 60} for n in range(images)],
        "annotations": [
            {"id": n, "image_id": image, "category_id": kind, "segmentation": parts}
            for n, (image, kind, parts) in enumerate(records)
        ],
    }
    path = folder / "_annotations.coco.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(coco, indent=1).replace("\n", "\r\n").encode())
    return path


def write_vision(root: Path, draw) -> Path:
    names = {0: "background", 1: "Inclusoes", 2: "Rechupe"}
    records = [(0, 1, [LEFT, RIGHT]), (1, 1, [LEFT]), (1, 2, [RIGHT]), (1, 2, [RIGHT, [1, 2, 3, 4]]), (2, 1, [[1, 2]])]
    write_split(root / "Casting/train", draw, names, records, 4)
    write_split(root / "Casting/val", draw, {0: "Rechupe", 1: "Inclusoes"}, [(0, 0, [LEFT]), (0, 1, [])], 1)
    write_split(root / "Casting/inference", draw, names, [], 2)
    return root


def test_reads_the_layout(tmp_path: Path, draw) -> None:
    listed = read_vision(write_vision(tmp_path, draw))
    assert [(s.id, s.split, s.defect) for s in listed.samples] == [
        ("vision/Casting/train/000000.jpg", "train", "inclusion"),
        ("vision/Casting/train/000001.jpg", "train", "inclusion and shrinkage"),
        ("vision/Casting/val/000000.jpg", "val", "shrinkage"),  # the same id means another name in this split
    ]
    assert [(skipped.id.removeprefix("vision/Casting/"), skipped.reason) for skipped in listed.skipped] == [
        ("train/000001.jpg", "annotation 3: a polygon of fewer than 6 coordinates"),
        ("train/000002.jpg", "annotation 4: a polygon of fewer than 6 coordinates"),
        ("train/000002.jpg", "no usable annotation"),
        ("train/000003.jpg", "no usable annotation"),
        ("val/000000.jpg", "annotation 1: no polygon"),
        ("inference/000000.jpg", "the inference split has no annotations"),
        ("inference/000001.jpg", "the inference split has no annotations"),
    ]


def test_one_annotation_is_one_region_in_several_parts(tmp_path: Path, draw) -> None:
    several, touching, *_ = read_vision(write_vision(tmp_path, draw)).samples
    mask = load_mask(several, load_image(several.image).shape[:2])
    assert mask[10, 10]
    assert mask[10, 35]
    assert not mask[10, 22]
    (region,) = defect_regions(several.mask, mask)
    assert (region.box, region.area, region.centroid) == (Box(5, 5, 40, 15), 200, (22.0, 9.5))
    assert len(defect_regions(touching.mask, load_mask(touching, (40, 60)))) == 3


def test_what_is_left_out_follows_the_filters(tmp_path: Path, draw) -> None:
    source = Source(reader="vision", root=str(write_vision(tmp_path, draw)), splits=["val"])
    listed = load_samples([source])
    assert len(listed.samples) == 1
    assert [reason for _, reason in listed.skipped] == ["annotation 1: no polygon"]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([(0, 7, [LEFT])], r"Unknown category_id 7 in .*coco\.json"),
        ([(9, 1, [LEFT])], r"Annotation of no image: .*image_id 9"),
        ([(0, 1, [[1, 2, 3, 4, 5, 6, 7]])], r"Malformed segmentation in .*annotation 0"),
        ([(0, 1, [["a", 2, 3, 4, 5, 6]])], r"Malformed segmentation in .*annotation 0"),
        ([(0, 1, [1, 2, 3, 4, 5, 6])], r"annotation 0: a list of numbers instead of a list of polygons\."),
        ([(0, 1, [[float("nan"), 2, 3, 4, 5, 6]])], "impossible coordinate nan"),
        ([(0, 1, [[1e30, 2, 3, 4, 5, 6]])], r"impossible coordinate 1e\+30"),
        ([(0, 1, {"counts": "abc", "size": [40, 60]})], "run lengths that end in the middle"),
        ([(0, 1, {"counts": [5, 9], "size": [40, 60]})], "do not fill 60x40"),
        ([(0, 1, "abc")], r"no list 'segmentation'"),
    ],
)
def test_bad_annotations_are_named(tmp_path: Path, draw, records: list[Any], message: str) -> None:
    write_split(tmp_path / "Wood/train", draw, {1: "pits"}, records, 1)
    with pytest.raises(UserError, match=message):
        read_vision(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("000000.jpg", "../000000.jpg", r"Path outside its folder: '\.\./000000\.jpg'"),
        ("000000.jpg", "000009.jpg", r"Missing image: .* lists 000009\.jpg"),
        (
            '"file_name": "000001.jpg"',
            '"file_name": "000000.jpg"',
            r"Image 00000\d\.jpg or image id \d is listed twice",
        ),
        ('"id": 1, "file_name"', '"id": 0, "file_name"', r"Image 00000\d\.jpg or image id \d is listed twice"),
        ('"annotations"', '"marks"', "no list 'annotations'"),
    ],
)
def test_a_bad_index_is_named(tmp_path: Path, draw, old: str, new: str, message: str) -> None:
    path = write_split(tmp_path / "Wood/train", draw, {1: "pits"}, [(0, 1, [LEFT])], 2)
    text = json.dumps(json.loads(path.read_text(encoding="utf-8-sig")))
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=message):
        read_vision(tmp_path)


def test_a_truncated_or_missing_file_is_named(tmp_path: Path, draw) -> None:
    path = write_split(tmp_path / "Wood/train", draw, {1: "pits"}, [(0, 1, [LEFT])], 1)
    path.write_text(path.read_text()[:100])
    with pytest.raises(UserError, match=r"Not valid JSON: .*coco\.json"):
        read_vision(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"Missing file: .*coco\.json"):
        read_vision(tmp_path)


def test_an_image_that_is_not_listed_is_left_out(tmp_path: Path, draw) -> None:
    write_split(tmp_path / "Wood/train", draw, {1: "pits"}, [(0, 1, [LEFT])], 1)
    draw(tmp_path / "Wood/train/000001.jpg")
    listed = read_vision(tmp_path)
    assert [skipped.reason for skipped in listed.skipped] == ["not in _annotations.coco.json"]


def test_a_link_that_leads_out_is_named_and_a_linked_folder_is_fine(tmp_path: Path, draw) -> None:
    root = write_vision(tmp_path / "root", draw)
    (root / "Casting").rename(tmp_path / "disk")
    (root / "Casting").symlink_to(tmp_path / "disk")
    assert read_vision(root).samples
    image = root / "Casting/val/000000.jpg"
    image.rename(tmp_path / "secret.jpg")
    image.symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(
        UserError, match=r"Path outside its folder: '000000\.jpg' in .*coco\.json is a link to .*secret"
    ):
        read_vision(root)
