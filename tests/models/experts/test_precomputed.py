import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.sample import Sample
from models.experts.expert import Gate
from models.experts.load import ExpertName, load_expert
from models.experts.precomputed import PrecomputedExpert
from models.experts.store import write_gates

SAMPLE = Sample(
    id="set/nut/test/bent/000.jpg", dataset="set", category="nut", split="test", image=Path("000.jpg"), defect="bent"
)
MAP = np.array([[0.0, 0.25], [0.5, 1.0]], np.float32)
IMAGE = np.zeros((2, 2, 3), np.uint8)
STEM = "set/nut/test/bent/000"


def write(folder: Path, name: str, values: np.ndarray = MAP) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        assert cv2.imwrite(str(path), values)
    write_gates(folder, {"nut": Gate(0.75, 0.5)})
    return path


def detect(folder: Path, image: np.ndarray = IMAGE):
    return load_expert(ExpertName.precomputed, str(folder)).detect([SAMPLE], [image])[0]


@pytest.mark.parametrize("name", [f"{STEM}.npy", f"{STEM}.jpg.npy", "nut/test/bent/000.npy", f"{STEM}.tiff"])
def test_floating_point_maps(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    found = detect(tmp_path)
    assert np.array_equal(found.anomaly_map, MAP)
    assert (found.score, found.gate, found.is_normal) == (1.0, Gate(0.75, 0.5), False)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_png(tmp_path: Path, kind: type) -> None:
    write(tmp_path, f"{STEM}.png", (MAP * np.iinfo(kind).max).astype(kind))
    assert detect(tmp_path).anomaly_map == pytest.approx(MAP, abs=0.003)


def test_another_size(tmp_path: Path) -> None:
    write(tmp_path, f"{STEM}.npy")
    found = detect(tmp_path, np.zeros((6, 4, 3), np.uint8))
    assert found.anomaly_map.shape == (6, 4)
    assert found.anomaly_map.dtype == np.float32


def test_scores(tmp_path: Path) -> None:
    write(tmp_path, f"{STEM}.npy")
    (tmp_path / "scores.json").write_text(json.dumps({SAMPLE.id: 0.1}))
    assert detect(tmp_path).is_normal
    (tmp_path / "scores.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match=r"No score of set/nut"):
        detect(tmp_path)


def test_missing_double_and_unfitted(tmp_path: Path) -> None:
    write_gates(tmp_path, {"nut": Gate(0, 0)})
    with pytest.raises(UserError, match=r"No anomaly map of set/nut.*000\.npy"):
        detect(tmp_path)
    write(tmp_path, f"{STEM}.npy")
    write(tmp_path, "nut/test/bent/000.npy")
    with pytest.raises(UserError, match="Several anomaly maps"):
        detect(tmp_path)
    with pytest.raises(UserError, match=r"No gate for nut.*none"):
        PrecomputedExpert(tmp_path, {}).detect([SAMPLE], [IMAGE])
    with pytest.raises(UserError, match="No folder"):
        load_expert(ExpertName.precomputed, str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.full((2, 2), np.nan, np.float32), "Not finite"), (np.zeros((2, 2, 3), np.float32), "not .H, W.")],
)
def test_bad_maps(tmp_path: Path, values: np.ndarray, message: str) -> None:
    write(tmp_path, f"{STEM}.npy", values)
    with pytest.raises(UserError, match=message):
        detect(tmp_path)


def test_pickles_and_rubbish_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, f"{STEM}.npy")
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="Unreadable anomaly map"):
        detect(tmp_path)
    path.write_bytes(b"rubbish")
    with pytest.raises(UserError, match="Unreadable anomaly map"):
        detect(tmp_path)


def test_the_dataset_is_no_folder_of_maps(tmp_path: Path) -> None:
    image = write(tmp_path, "nut/test/bent/000.png", np.zeros((2, 2), np.uint8))
    grey = Sample(id="set/nut/test/bent/000.png", dataset="set", category="nut", split="test", image=image)
    with pytest.raises(UserError, match="the images themselves"):
        load_expert(ExpertName.precomputed, str(tmp_path)).detect([grey], [IMAGE])
