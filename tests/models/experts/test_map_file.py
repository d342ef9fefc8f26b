from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from models.experts.map_file import read_map


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".tif"])
def test_integers_of_an_image_file_mean_0_to_1(tmp_path: Path, suffix: str) -> None:
    for kind in (np.uint8, np.uint16):
        values = np.array([[0, 51], [102, np.iinfo(kind).max]], kind)
        cv2.imwrite(str(tmp_path / f"map{suffix}"), values)
        found = read_map(tmp_path / f"map{suffix}")
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, values / np.iinfo(kind).max, rtol=1e-6)


def test_floating_point_is_taken_as_it_is(tmp_path: Path) -> None:
    values = np.array([[-3.5, 1e30]])
    np.save(tmp_path / "map.npy", values)
    assert np.array_equal(read_map(tmp_path / "map.npy"), values)
    cv2.imwrite(str(tmp_path / "map.tiff"), values.astype(np.float32))
    assert np.array_equal(read_map(tmp_path / "map.tiff"), values.astype(np.float32))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 2, 3), np.float32), r"shape \(2, 2, 3\)"),
        (np.zeros((0, 2), np.float32), r"shape \(0, 2\)"),
        (np.zeros((2, 2), np.int64), "int64, not floating point"),
    ],
)
def test_what_is_no_map_is_named(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "map.npy", values)
    with pytest.raises(UserError, match=message):
        read_map(tmp_path / "map.npy")


def test_a_torn_file_is_named(tmp_path: Path) -> None:
    for name in ("map.npy", "map.png"):
        (tmp_path / name).write_bytes(b"torn")
        with pytest.raises(UserError, match=f"Unreadable anomaly map: .*{name}"):
            read_map(tmp_path / name)
