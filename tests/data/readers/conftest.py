"""Small trees in exactly the layouts of the official downloads, quirks included; one writer a reader."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

HEIGHT, WIDTH = 24, 32
WriteTree = Callable[..., Path]
Draw = Callable[..., Path]


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())


def image(path: Path, channels: int = 3) -> None:
    """A noisy image, a different one at every path."""
    rng = np.random.default_rng(list(path.as_posix().encode()))
    put(path, rng.integers(60, 120, (HEIGHT, WIDTH, channels)).astype(np.uint8))


def mask(path: Path, value: int | tuple[int, int, int] = 255, top: int = 4) -> None:
    """A square of 4 × 4 pixels of the given value (or BGR colour) on black."""
    pixels = np.zeros((HEIGHT, WIDTH) if isinstance(value, int) else (HEIGHT, WIDTH, 3), np.uint8)
    pixels[top : top + 4, 6:10] = value
    put(path, pixels)


def write_mvtec_ad(root: Path) -> None:
    for category, channels, defect in (("bottle", 3, "broken_large"), ("grid", 1, "bent")):
        for folder in ("train/good", "test/good", f"test/{defect}"):
            for stem in ("000", "001"):
                image(root / category / folder / f"{stem}.png", channels)
        for stem in ("000", "001"):
            mask(root / category / "ground_truth" / defect / f"{stem}_mask.png")
        (root / category / "license.txt").write_text("licence")


def write_goods_ad(root: Path) -> None:
    for name in ("train/good/000.jpg", "test/good/001.JPG", "test/cap_half_open/002.jpg", "test/surface_damage/3.jpg"):
        image(root / "drink_bottle" / name)
    mask(root / "drink_bottle/ground_truth/cap_half_open/002.png")
    mask(root / "drink_bottle/ground_truth/surface_damage/3_mask.png", 1)
    mask(root / "drink_bottle/ground_truth/good/001.png", 0)


def write_ds_mvtec(root: Path) -> None:
    """Class indices for bottle; colours alone, in either spelling, for cable and capsule."""
    for category, defect in (("bottle", "broken_large"), ("cable", "bent_wire"), ("capsule", "crack")):
        image(root / category / "image/good/000.png")
        image(root / category / "image" / defect / "000.png")
    mask(root / "bottle/mask/broken_large/000_mask.png", 2)
    mask(root / "bottle/rbg_mask/broken_large/000_rbg_mask.png", (0, 0, 200), top=12)
    mask(root / "cable/rbg_mask/bent_wire/000_rbg_mask.png", (128, 0, 0))
    mask(root / "capsule/rgb_mask/crack/000_rgb_mask.png", (0, 128, 0))


def write_mvtec_3d(root: Path) -> None:
    for folder in ("train/good", "validation/good", "test/good", "test/hole"):
        image(root / "cable_gland" / folder / "rgb/000.png")
        put(root / "cable_gland" / folder / "xyz/000.tiff", np.zeros((4, 4, 3), np.float32))
    mask(root / "cable_gland/test/good/gt/000.png", 0)
    mask(root / "cable_gland/test/hole/gt/000.png")
    (root / "cable_gland/calibration").mkdir()
    (root / "cable_gland/calibration/camera_parameters.json").write_text("{}")


def write_mvtec_loco(root: Path) -> None:
    """`juice_bottle` lacks its config, as in copies of the dataset."""
    for category in ("juice_bottle", "pushpins"):
        for folder in ("train/good", "validation/good", "test/good", "test/logical_anomalies"):
            image(root / category / folder / "000.png")
        image(root / category / "test/structural_anomalies/007.png")
        mask(root / category / "ground_truth/logical_anomalies/000/000.png", 255)
        mask(root / category / "ground_truth/logical_anomalies/000/001.png", 251, top=14)
        mask(root / category / "ground_truth/structural_anomalies/007/000.png", 250)
    config = [
        {"defect_name": name, "pixel_value": value, "saturation_threshold": 1.0, "relative_saturation": True}
        for name, value in (("1_additional_pushpin", 255), ("missing_pushpin", 251), ("broken", 250))
    ]
    (root / "pushpins/defects_config.json").write_text(json.dumps(config))


def write_visa(root: Path) -> None:
    """As downloaded: shuffled rows, a BOM, CRLF, quoted lists, spaces, upper-case suffixes, class-index masks."""
    labels = {
        "candle": ['"chunk of wax missing,foreign particals on candle"', "wax melded out of the candle"],
        "pcb1": ['"melt, bent"', "scratch"],
    }
    lines = ["object,split,label,image,mask"]
    for category, names in labels.items():
        annotations = ["image,label,mask"]
        for stem, split in (("0001", "test"), ("0000", "train"), ("0002", "train")):
            path = f"{category}/Data/Images/Normal/{stem}.JPG"
            image(root / path)
            lines.append(f"{category},{split},normal,{path},")
            annotations.append(f"{path},normal,")
        for number, name in reversed(list(enumerate(names))):
            path, mask_path = (f"{category}/Data/{kind}/Anomaly/{number:03d}" for kind in ("Images", "Masks"))
            image(root / f"{path}.JPG")
            mask(root / f"{mask_path}.png", number + 1)
            lines.append(f"{category},test,anomaly,{path}.JPG,{mask_path}.png")
            annotations.append(f"{path}.JPG,{name},{mask_path}.png")
        (root / category / "image_anno.csv").write_bytes("\r\n".join([*annotations, ""]).encode("utf-8-sig"))
    (root / "split_csv").mkdir()
    (root / "split_csv/1cls.csv").write_bytes("\r\n".join([*lines, ""]).encode("utf-8-sig"))


def write_visa_1cls(root: Path) -> None:
    """The re-layout; `candle` has its annotations beside it."""
    for category in ("candle", "pcb1"):
        for name in ("train/good/0000.JPG", "test/good/0001.JPG", "test/bad/000.JPG"):
            image(root / category / name)
        mask(root / category / "ground_truth/bad/000.png", 3)
    (root / "candle/image_anno.csv").write_text(
        "image,label,mask\ncandle/Data/Images/Anomaly/000.JPG,weird candle wick,candle/Data/Masks/Anomaly/000.png\n"
    )


def write_mvtec_ac(root: Path) -> None:
    for folder in ("good", "scratch_thread"):
        image(root / "screw/test" / folder / "000.png", channels=1)
    mask(root / "screw/ground_truth/scratch_thread/000_mask.png")


def write_visa_ac(root: Path) -> None:
    for name in ("good/0001.JPG", "middle-breakage_small-scratches/055.JPG"):
        image(root / "macaroni1/test" / name)
    mask(root / "macaroni1/ground_truth/middle-breakage_small-scratches/055.png", 5)


def write_bsdata(root: Path) -> None:
    for name in ("data/a.jpg", "data/b.jpg", "data/BSD/test/b.jpg"):
        image(root / name)
    (root / "label").mkdir()
    square = [[10, 5], [20, 5], [20, 15], [10, 15]]
    shapes = [{"label": "Pitting", "points": square, "shape_type": "polygon"}]
    (root / "label/b.json").write_text(json.dumps({"shapes": shapes, "imageHeight": HEIGHT, "imageWidth": WIDTH}))
    records = [{"filename": "a.jpg", "train_test_split": None}, {"filename": "b.jpg", "train_test_split": "test"}]
    (root / "image_data.json").write_text(json.dumps({"images": records}))


def write_magnetic_tile(root: Path) -> None:
    for folder, value in (("MT_Crack", 255), ("MT_Free", 0)):
        image(root / folder / "Imgs/x.jpg", channels=1)
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
        pixels[5:10, 5:10] = value
        pixels[4, 5:10] = value // 3  # a soft edge, below the threshold
        put(root / folder / "Imgs/x.png", pixels)


def write_real_iad(root: Path) -> None:
    """JSON files nested twice; a view of a defective object without a mask."""
    for category in ("plastic_nut", "zipper"):
        records: dict[str, list[dict[str, object]]] = {"train": [], "test": []}
        for split, code, number, view, masked in (
            ("train", "OK", 1, 1, False),
            ("test", "AK", 44, 1, True),
            ("test", "AK", 44, 2, False),
            ("test", "OK", 44, 1, False),
        ):
            folder = "OK" if code == "OK" else f"NG/{code}"
            stem = f"{folder}/S{number:04d}/{category}_{number:04d}_{code}_C{view}_20231004133152"
            image(root / "realiad_256" / category / f"{stem}.jpg")
            if masked:
                mask(root / "realiad_256" / category / f"{stem}.png")
            paths = {"image_path": f"{stem}.jpg", "mask_path": f"{stem}.png" if masked else None}
            records[split].append({"category": category, "anomaly_class": code, **paths})
        path = root / "realiad_jsons/realiad_jsons" / f"{category}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"meta": {"prefix": f"{category}/", "normal_class": "OK"}, **records}))


def write_vision(root: Path) -> None:
    """One annotation in two parts; ids that differ between the splits; an unlabelled split."""
    parts = [[2, 2, 8, 2, 8, 8, 2, 8], [20, 2, 28, 2, 28, 8, 20, 8]]
    for split, names in (("train", {1: "Inclusoes", 2: "Rechupe"}), ("val", {1: "Rechupe", 2: "Inclusoes"})):
        for name in ("000000.jpg", "000001.jpg"):
            image(root / "Casting" / split / name)
        coco = {
            "categories": [{"id": number, "name": name} for number, name in names.items()],
            "images": [{"id": n, "file_name": f"00000{n}.jpg", "height": HEIGHT, "width": WIDTH} for n in (0, 1)],
            "annotations": [
                {"id": 0, "image_id": 0, "category_id": 1, "segmentation": parts},
                {"id": 1, "image_id": 1, "category_id": 1, "segmentation": parts[:1]},
                {"id": 2, "image_id": 1, "category_id": 2, "segmentation": parts[1:]},
            ],
        }
        (root / "Casting" / split / "_annotations.coco.json").write_text(json.dumps(coco))
    image(root / "Casting/inference/000000.jpg")


def write_pd_real(root: Path) -> None:
    for folder in ("train/good", "test/good", "test/dent", "test/combine-S"):
        image(root / "pizza" / folder / "rgb/000.png")
    mask(root / "pizza/test/good/gt/000.png", 0)
    for defect in ("dent", "combine-S"):
        mask(root / "pizza/test" / defect / "gt/000.png")


def write_rsdd(root: Path) -> None:
    for kind in ("Type-I RSDDs dataset", "Type-II RSDDs dataset"):
        image(root / kind / "Rail surface images/rail_1.jpg")
        mask(root / kind / "GroundTruth/rail_1.jpg")


def write_dagm2007(root: Path) -> None:
    rows = "1\r\n1\t0\t0576.PNG\t0\t0\r\n20\t1\t0595.PNG\t0\t0595_label.PNG\r\n"
    for place in ("Class1", "Class2/Class2"):
        for split in ("Test", "Train"):
            folder = root / place / split
            image(folder / "0576.PNG")
            image(folder / "0595.PNG")
            mask(folder / "Label/0595_label.PNG")
            (folder / "Label/Labels.txt").write_bytes(rows.encode("utf-8-sig"))


def write_eyecandies(root: Path) -> None:
    """Whatever the padding; empty masks of every type beside the one of the defect."""
    bad = "anomalous: 1\r\nbumps: 1\r\ndents: 0\r\ncolors: 1\r\nnormals: 0\r\n"
    for split, index, metadata in (("train", "0007", None), ("test_public", "00", None), ("test_public", "01", bad)):
        stem = root / "Candy Cane" / split / "data" / index
        for lighting in range(6):
            image(Path(f"{stem}_image_{lighting}.png"))
        for item in ("mask", "bumps_mask", "dents_mask", "colors_mask", "normals_mask"):
            mask(Path(f"{stem}_{item}.png"), 1 if metadata and item in ("mask", "bumps_mask", "colors_mask") else 0)
        Path(f"{stem}_metadata.yaml").write_text(metadata or "anomalous: 0\n")
    image(root / "Candy Cane/test_private/data/000_image_5.png")


def write_folder(root: Path) -> None:
    for name in ("a.jpg", "b.JPG", "c ü.png"):
        image(root / "gear/images" / name)
    mask(root / "gear/masks/a.png", 1)
    mask(root / "gear/masks/c ü_mask.png")


def write_photos(root: Path) -> None:
    """Two products, named as people name folders; every defective photo has a mask, wherever it may lie."""
    for name in ("gear/OK parts/a ü.JPG", "gear/OK parts/Monday/a.png", "gear/not ok/b.png", "gear/not ok/dent/c.png"):
        image(root / name)
    mask(root / "gear/Masks/not ok/b.png")
    mask(root / "gear/Masks/not ok/dent/c_mask.png", 1)
    for name in ("nut/good/a.bmp", "nut/bad/a.png"):
        image(root / name)
    mask(root / "nut/bad/a_mask.png")


TREES = {name.removeprefix("write_"): write for name, write in list(globals().items()) if name.startswith("write_")}


@pytest.fixture
def write_tree(tmp_path: Path) -> WriteTree:
    """Writes the tree of a reader, below a folder with a space and letters outside ASCII, and returns its root."""

    def write(name: str) -> Path:
        root = tmp_path / "Prüf daten 检" / name
        root.mkdir(parents=True)
        TREES[name](root)
        return root

    return write


@pytest.fixture
def draw() -> Draw:
    """Writes an image of 40×60 pixels; with `square` a mask whose pixels (10..20, 5..15) have that value."""

    def write(path: Path, square: int | None = None) -> Path:
        pixels = np.full((40, 60), 90, np.uint8) if square is None else np.zeros((40, 60), np.uint8)
        if square:
            pixels[5:15, 10:20] = square
        put(path, pixels)
        return path

    return write
