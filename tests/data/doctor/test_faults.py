"""Trees with planted faults: each one is found, under its code and its file, and nothing else is."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.doctor.examine import DoctorConfig, examine
from data.doctor.problems import Problem, Severity, kinds

SQUARE = [[10, 5], [20, 5], [20, 15], [10, 15]]
SIZE = (48, 64)


def noise(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 120, (*size, 3), dtype=np.uint8)


def square_mask(value: int = 255, dtype: type = np.uint8) -> np.ndarray:
    mask = np.zeros(SIZE, dtype)
    mask[5:15, 5:15] = value
    return mask


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def find(root: Path, **settings) -> list[Problem]:
    settings = {"workers": 1, "cache": str(root.parent / "cache"), **settings}
    return examine(DoctorConfig(**settings), str(root)).problems


def write_mvtec_tree(root: Path) -> Path:
    """Two whole categories: 4 images in train/good, 4 in test/good, 12 scratches."""
    for number, category in enumerate(("bottle", "cable")):
        for index in range(4):
            write(root / category / f"train/good/{index:03d}.png", noise(100 * number + index))
            write(root / category / f"test/good/{index:03d}.png", noise(100 * number + 10 + index))
        for index in range(12):
            write(root / category / f"test/scratch/{index:03d}.png", noise(100 * number + 20 + index))
            write(root / category / f"ground_truth/scratch/{index:03d}_mask.png", square_mask())
    return root


def write_bsdata_tree(root: Path) -> Path:
    (root / "label").mkdir(parents=True)
    records = []
    for index, name in enumerate("abcdefgh"):
        write(root / f"data/{name}.jpg", noise(300 + index))
        records.append({"filename": f"{name}.jpg", "train_test_split": "train"})
        write_label(root / f"label/{name}.json")
    (root / "image_data.json").write_text(json.dumps({"images": records}))
    return root


def write_label(path: Path, **changes) -> None:
    shapes = [{"label": "Pitting", "points": SQUARE, "shape_type": "polygon"}]
    label = {"shapes": shapes, "imagePath": path.stem + ".jpg", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    path.write_text(json.dumps({**label, **changes}))


def points(*corners: tuple[float, float]) -> list[dict]:
    return [{"label": "Pitting", "points": list(map(list, corners)), "shape_type": "polygon"}]


Plant = Callable[[Path], object]
SCRATCH, TRUTH = "bottle/test/scratch", "bottle/ground_truth/scratch"


def copy(origin: str, copy: str) -> Plant:
    return lambda root: shutil.copy(root / origin, root / copy)


def link(place: str, target: str) -> Plant:
    return lambda root: (root / place).symlink_to(target)


def plant_moved_category(root: Path) -> None:
    for index in range(2):
        write(root / f"capsule/Train/Good/{index:03d}.png", noise(500 + index))


def plant_pages(path: Path) -> None:
    cv2.imwritemulti(str(path), [noise(704), noise(705)])


# code, file, how to plant it: all in one tree
MVTEC_FAULTS: list[tuple[str, str, Plant]] = [
    ("corrupt-image", "bottle/test/good/000.png", lambda r: cut(r / "bottle/test/good/000.png")),
    ("corrupt-image", "bottle/test/good/001.png", lambda r: (r / "bottle/test/good/001.png").write_text("<html>404")),
    ("empty-file", "bottle/test/good/002.png", lambda r: (r / "bottle/test/good/002.png").write_bytes(b"")),
    ("missing-mask", f"{TRUTH}/000_mask.png", lambda r: (r / f"{TRUTH}/000_mask.png").unlink()),
    ("missing-mask", f"{TRUTH}/001_mask.png", lambda r: (r / f"{TRUTH}/001_mask.png").unlink()),
    ("corrupt-mask", f"{TRUTH}/002_mask.png", lambda r: cut(r / f"{TRUTH}/002_mask.png")),
    ("size-mismatch", f"{TRUTH}/003_mask.png", lambda r: write(r / f"{TRUTH}/003_mask.png", square_mask()[:40])),
    ("empty-mask", f"{TRUTH}/004_mask.png", lambda r: write(r / f"{TRUTH}/004_mask.png", square_mask(0))),
    ("full-mask", f"{TRUTH}/005_mask.png", lambda r: write(r / f"{TRUTH}/005_mask.png", square_mask() | 255)),
    ("full-mask", f"{TRUTH}/007_mask.png", lambda r: write(r / f"{TRUTH}/007_mask.png", 255 - square_mask())),
    ("soft-mask", f"{TRUTH}/006_mask.png", lambda r: plant_soft_mask(r / f"{TRUTH}/006_mask.png")),
    (
        "dark-image",
        "cable/test/good/d.png",
        lambda r: write(r / "cable/test/good/d.png", noise(702).astype(np.uint16) * 16),
    ),
    ("unsupported-format", "cable/test/good/f.tif", lambda r: write(r / "cable/test/good/f.tif", noise(703) / 255)),
    ("several-pages", "cable/test/good/p.tif", lambda r: plant_pages(r / "cable/test/good/p.tif")),
    ("orphan-mask", f"{TRUTH}/099_mask.png", lambda r: write(r / f"{TRUTH}/099_mask.png", square_mask())),
    ("contradiction", f"{SCRATCH}/008.png", copy("bottle/test/good/003.png", f"{SCRATCH}/008.png")),
    ("duplicate-image", f"{SCRATCH}/010.png", copy(f"{SCRATCH}/009.png", f"{SCRATCH}/010.png")),
    ("duplicate-across-splits", "cable/test/good/copy.bmp", lambda r: plant_copy_in_other_format(r)),
    ("suffix-mismatch", "cable/test/good/001.png", lambda r: plant_jpeg_called_png(r / "cable/test/good/001.png")),
    ("symlink-loop", "cable/test/again", link("cable/test/again", "../../cable")),
    ("symlink-loop", "cable/test/self", link("cable/test/self", "self")),
    ("broken-link", "cable/train/good/009.png", link("cable/train/good/009.png", "/nowhere/009.png")),
    ("link-outside", "cable/train/good/008.png", lambda r: plant_link_outside(r)),
    ("case-collision", "cable/train/good/a.png", lambda r: plant_case_collision(r)),
    ("wrong-case", "capsule/Train", plant_moved_category),
    ("wrong-case", "capsule/Train/Good", lambda r: None),  # planted by the line before
    ("unread-image", "capsule/Train/Good/000.png", lambda r: None),
    ("unread-image", "capsule/Train/Good/001.png", lambda r: None),
    ("unread-image", "cable/test/loose.png", lambda r: write(r / "cable/test/loose.png", noise(600))),
    ("unlisted-format", "cable/test/good/x.webp", lambda r: write(r / "cable/test/good/x.webp", noise(601))),
    ("empty-folder", "cable/test/crushed", lambda r: (r / "cable/test/crushed").mkdir()),
    ("junk-file", "cable/Thumbs.db", lambda r: (r / "cable/Thumbs.db").write_bytes(b"x")),
    ("junk-file", "cable/test/good/._000.png", lambda r: (r / "cable/test/good/._000.png").write_bytes(b"x")),
    ("leaked-image", "cable/test/good/002.png", lambda r: None),
    ("unreadable-annotation", "cable/notes.json", lambda r: (r / "cable/notes.json").write_text('{"a": [1, 2')),
    ("unreadable-annotation", "cable/list.csv", lambda r: (r / "cable/list.csv").write_text("image,mask\nx.png\n")),
    ("path-escapes", "cable/paths.csv", lambda r: (r / "cable/paths.csv").write_text("image\n../../../etc/x.png\n")),
]


def plant_soft_mask(path: Path) -> None:
    write(path, cv2.GaussianBlur(square_mask(), (5, 5), 2))


def plant_copy_in_other_format(root: Path) -> None:
    """A training image again in the test split, as BMP: other bytes, the same pixels."""
    write(root / "cable/test/good/copy.bmp", noise(100))


def plant_jpeg_called_png(path: Path) -> None:
    Image.fromarray(noise(702)).save(path, format="JPEG")


def plant_link_outside(root: Path) -> None:
    (root / "cable/train/good/008.png").symlink_to(write(root.parent / "elsewhere/008.png", noise(703)))


def plant_case_collision(root: Path) -> None:
    write(root / "cable/train/good/a.png", noise(604))
    write(root / "cable/train/good/A.png", noise(605))


@pytest.fixture(scope="module")
def mvtec_problems(tmp_path_factory: pytest.TempPathFactory) -> list[Problem]:
    folder = tmp_path_factory.mktemp("faults")
    root, seen = write_mvtec_tree(folder / "mvtec"), folder / "seen"
    write(seen / "train/good/000.png", noise(700))
    write(seen / "ground_truth/scratch/000_mask.png", square_mask())
    write(seen / "test/scratch/000.png", noise(112))
    against = folder / "seen_in_training"
    shutil.move(seen, against / "part")
    for _, _, plant in MVTEC_FAULTS:
        plant(root)
    return find(root, against=str(against))


def test_there_are_enough_faults() -> None:
    assert len({(code, file) for code, file, _ in MVTEC_FAULTS}) == len(MVTEC_FAULTS) >= 20
    assert len({code for code, _, _ in MVTEC_FAULTS}) >= 20


@pytest.mark.parametrize(("code", "file"), [fault[:2] for fault in MVTEC_FAULTS])
def test_every_planted_fault_is_found(code: str, file: str, mvtec_problems: list[Problem]) -> None:
    found = [item for item in mvtec_problems if (item.code, item.file) == (code, file)]
    assert len(found) == 1
    assert found[0].message
    assert found[0].fix
    assert found[0].severity is kinds()[code].severity


def test_nothing_else_is_found(mvtec_problems: list[Problem]) -> None:
    planted = {fault[:2] for fault in MVTEC_FAULTS}
    assert {(p.code, p.file) for p in mvtec_problems if p.code != "count-differs"} == planted
    differing = {item.file for item in mvtec_problems if item.code == "count-differs"}
    assert {"categories", "bottle: contamination", "cable: bent_wire"} <= differing


def test_the_worst_comes_first(mvtec_problems: list[Problem]) -> None:
    order = [list(Severity).index(item.severity) for item in mvtec_problems]
    assert order == sorted(order)


BSDATA_FAULTS: list[tuple[str, str, Plant]] = [
    ("unreadable-annotation", "label/a.json", lambda r: cut(r / "label/a.json")),
    ("unreadable-annotation", "label/b.json", lambda r: write_label(r / "label/b.json", shapes=[])),
    ("unreadable-annotation", "label/c.json", lambda r: write_label(r / "label/c.json", shapes=[{"points": "?"}])),
    ("orphan-annotation", "label/z.json", lambda r: write_label(r / "label/z.json")),
    (
        "polygon-outside",
        "label/d.json",
        lambda r: write_label(r / "label/d.json", shapes=points((5, 5), (900, 5), (5, 9))),
    ),
    (
        "polygon-outside",
        "label/e.json",
        lambda r: write_label(r / "label/e.json", shapes=points((90, 90), (99, 90), (99, 99))),
    ),
    ("empty-mask", "label/e.json", lambda r: None),
    ("size-mismatch", "label/f.json", lambda r: write_label(r / "label/f.json", imageWidth=640)),
    ("path-escapes", "label/g.json", lambda r: write_label(r / "label/g.json", imagePath="..\\..\\..\\secret.jpg")),
    ("corrupt-image", "data/h.jpg", lambda r: cut(r / "data/h.jpg")),
    # the reader leaves out an image whose annotation it cannot read
    *[("unread-image", f"data/{name}.jpg", lambda r: None) for name in "abc"],
]


def test_faults_of_annotated_polygons(tmp_path: Path) -> None:
    root = write_bsdata_tree(tmp_path / "bsdata")
    assert {item.code for item in find(root)} == {"count-differs"}
    for _, _, plant in BSDATA_FAULTS:
        plant(root)
    found = [(item.code, item.file) for item in find(root) if item.code != "count-differs"]
    assert sorted(found) == sorted(fault[:2] for fault in BSDATA_FAULTS)


def test_an_unreadable_index_does_not_hide_the_rest(tmp_path: Path) -> None:
    root = write_bsdata_tree(tmp_path / "bsdata")
    cut(root / "image_data.json")
    cut(root / "data/h.jpg")
    found = {(item.code, item.file) for item in find(root)}
    assert {("unreadable-annotation", "image_data.json"), ("corrupt-image", "data/h.jpg")} <= found


def test_a_reader_that_stops_does_not_hide_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from data.errors import UserError
    from data.readers.registry import READERS

    def stop(root: Path) -> list:
        raise UserError(f"Not what I expected in {root}.")

    root = write_mvtec_tree(tmp_path / "mvtec")
    cut(root / "cable/test/good/003.png")
    monkeypatch.setitem(READERS, "mvtec_ad", stop)
    found = {item.code: item.file for item in find(root)}
    assert found == {"reader-stopped": str(root), "corrupt-image": "cable/test/good/003.png"}


def test_a_mask_that_marks_a_normal_image(tmp_path: Path) -> None:
    root = tmp_path / "tiles"
    for folder, value in (("MT_Crack", 255), ("MT_Free", 255)):
        write(root / folder / "Imgs/x.jpg", noise(value + len(folder)))
        write(root / folder / "Imgs/x.png", square_mask(value))
    found = [(item.code, item.file) for item in find(root) if item.code != "count-differs"]
    assert found == [("marked-normal", "MT_Free/Imgs/x.png")]


def test_a_mask_below_the_threshold_says_so(tmp_path: Path) -> None:
    root = tmp_path / "tiles"
    write(root / "MT_Crack/Imgs/x.jpg", noise(1))
    write(root / "MT_Crack/Imgs/x.png", square_mask(1))
    empty = next(item for item in find(root) if item.code == "empty-mask")
    assert "highest value is 1, defects are above 127" in empty.message


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal itself is planted."""
    root = write_mvtec_tree(tmp_path / "mvtec")
    locked, closed = root / "bottle/test/good/000.png", root / "cable/secret"
    closed.mkdir()
    read_bytes, scandir = Path.read_bytes, os.scandir

    def refuse_file(path: Path) -> bytes:
        if path == locked:
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    def refuse_folder(path):
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(Path, "read_bytes", refuse_file)
    monkeypatch.setattr(os, "scandir", refuse_folder)
    found = {item.file for item in find(root) if item.code == "permission-denied"}
    assert found == {"bottle/test/good/000.png", "cable/secret"}


def test_a_whole_tree_is_healthy(tmp_path: Path) -> None:
    root = write_mvtec_tree(tmp_path / "mvtec")
    assert {item.code for item in find(root)} == {"count-differs"}
    shutil.move(root / "bottle", root / "gear")
    shutil.move(root / "cable", root / "washer")
    assert find(root) == []
