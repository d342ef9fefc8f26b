from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.eyecandies import TYPES, read_eyecandies
from data.sample import load_image, load_mask
from data.source import Source, load_samples


def write_candy(folder: Path, index: str, draw, metadata: str | None = "anomalous: 0\n", masks: int | None = 0) -> Path:
    """One rendered candy; `masks` is the value of a defect in `bumps_mask` and `mask`, None writes no mask."""
    for lighting in range(6):
        draw(folder / "data" / f"{index}_image_{lighting}.png")
    draw(folder / "data" / f"{index}_depth.png")
    draw(folder / "data" / f"{index}_normals.png")
    if metadata is not None:
        (folder / "data" / f"{index}_metadata.yaml").write_bytes(b"\xef\xbb\xbf" + metadata.encode())
    if masks is not None:
        for item in ("mask", *[f"{kind}_mask" for kind in TYPES]):
            draw(folder / "data" / f"{index}_{item}.png", square=masks if item in ("mask", "bumps_mask") else 0)
    return folder


BAD = "anomalous: 1\r\nbumps: 1\r\ndents: 0\r\ncolors: 1\r\nnormals: 0\r\n"


def write_eyecandies(root: Path, draw) -> Path:
    candy = root / "Candy Cane"
    write_candy(candy / "train", "0007", draw)
    write_candy(candy / "val", "012", draw)
    write_candy(candy / "test_public", "00", draw)
    write_candy(candy / "test_public", "1", draw, BAD, masks=1)
    write_candy(candy / "test_private", "000", draw, None, masks=None)
    return root


def test_reads_the_layout(tmp_path: Path, draw) -> None:
    listed = read_eyecandies(write_eyecandies(tmp_path, draw))
    assert [(s.split, s.image.name, s.defect) for s in listed.samples] == [
        ("train", "0007_image_5.png", None),
        ("val", "012_image_5.png", None),
        ("test_public", "00_image_5.png", None),
        ("test_public", "1_image_5.png", "bump and discoloration"),
    ]
    bad = listed.samples[-1]
    assert load_mask(bad, load_image(bad.image).shape[:2]).sum() == 100
    assert [skipped.id for skipped in listed.skipped] == [
        "eyecandies/Candy Cane/test_private/data/000_image_5.png",
    ]


@pytest.mark.parametrize(
    ("metadata", "removed", "defect"),
    [
        ("anomalous: true\n", ["bumps", "colors"], "dent and uneven surface"),  # as the masks say
        ("anomalous: 1\n", [], "defect"),  # all four masks are there: nothing tells
        (
            "anomalous: 1\nbumps: 1\ndents: 1\ncolors: 1\nnormals: 1\n",
            [],
            "bump and dent and discoloration and uneven surface",
        ),
    ],
)
def test_where_the_types_come_from(tmp_path: Path, draw, metadata: str, removed: list[str], defect: str) -> None:
    folder = write_candy(tmp_path / "Lollipop/test_public", "3", draw, metadata, masks=1)
    for kind in removed:
        (folder / f"data/3_{kind}_mask.png").unlink()
    assert [sample.defect for sample in read_eyecandies(tmp_path).samples] == [defect]


def test_the_lighting_is_an_option(tmp_path: Path, draw) -> None:
    root = str(write_eyecandies(tmp_path, draw))
    listed = load_samples([Source(reader="eyecandies", root=root, options={"lighting": 0})])
    assert {sample.image.name.split("_", 1)[1] for sample in listed.samples} == {"image_0.png"}
    with pytest.raises(UserError, match=r"lighting=6 .* within 0\.\.5"):
        read_eyecandies(tmp_path, lighting=6)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("anomalous: maybe\n", r"0_metadata\.yaml: no int 'anomalous'"),
        ("bumps: 1\n", r"0_metadata\.yaml: no int 'anomalous'"),
        ("anomalous: [1\n", r"Not valid YAML: .*0_metadata\.yaml"),
        (None, r"Image without its metadata: .*0_image_5\.png"),
    ],
)
def test_bad_metadata_is_named(tmp_path: Path, draw, metadata: str | None, message: str) -> None:
    write_candy(tmp_path / "Confetto/train", "0", draw, metadata)
    with pytest.raises(UserError, match=message):
        read_eyecandies(tmp_path)


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("1_mask.png", r"Image without its mask: .*1_image_5\.png"),
        ("1_image_5.png", r"Mask without its image: .*1_mask\.png"),
    ],
)
def test_missing_files_are_named(tmp_path: Path, draw, removed: str, message: str) -> None:
    write_eyecandies(tmp_path, draw)
    for path in (tmp_path / "Candy Cane/test_public/data").glob("1_*_mask.png"):
        path.unlink()
    (tmp_path / "Candy Cane/test_public/data" / removed).unlink()
    with pytest.raises(UserError, match=message):
        read_eyecandies(tmp_path)


def test_two_paddings_of_one_number_are_refused(tmp_path: Path, draw) -> None:
    write_candy(tmp_path / "Confetto/train", "1", draw)
    write_candy(tmp_path / "Confetto/train", "01", draw)
    with pytest.raises(UserError, match=r"Two files of one number: .*01_.* and .*1_"):
        read_eyecandies(tmp_path)
