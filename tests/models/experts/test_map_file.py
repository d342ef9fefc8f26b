import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

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


@pytest.mark.parametrize("kind", [">f2", ">f4", ">f8", "<f4"])
def test_numbers_in_either_byte_order(kind: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3).astype(kind))
    values = read_map(tmp_path / "a.npy")
    assert values.dtype == np.dtype(kind).newbyteorder("=") and values.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_compression_that_opencv_lacks(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((8, 9)).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "a.tiff", compression="zstd")
    assert np.array_equal(read_map(tmp_path / "a.tiff"), values)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    page = np.zeros((8, 9), np.float32)
    cv2.imwritemulti(str(tmp_path / "pages.tiff"), [page, page])
    with pytest.raises(UserError, match=r"has 2 pages: .*pages\.tiff"):
        read_map(tmp_path / "pages.tiff")
    cv2.imwrite(str(tmp_path / "half.tiff"), page, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    content = (tmp_path / "half.tiff").read_bytes()
    bits = struct.pack("<HHII", 258, 3, 1, 32)  # the tag that says 32 bits a sample
    assert content.count(bits) == 1
    (tmp_path / "half.tiff").write_bytes(content.replace(bits, struct.pack("<HHII", 258, 3, 1, 16)))
    with pytest.raises(UserError, match="TIFF with 16-bit floating-point numbers"):
        read_map(tmp_path / "half.tiff")
