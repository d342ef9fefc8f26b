"""Every kind of file that factories hand in: what is decoded must be what is displayed."""

import io
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.errors import UserError
from data.image_size import read_header, read_size
from data.pixels import decode
from data.pixels.decode import UnreadableError, decode_image

GREY = (np.arange(20 * 32).reshape(20, 32) % 251).astype(np.uint8)
COLOUR = np.dstack([GREY, GREY[::-1], 255 - GREY])
DISPLAYED = {
    1: COLOUR,
    2: COLOUR[:, ::-1],
    3: COLOUR[::-1, ::-1],
    4: COLOUR[::-1],
    5: COLOUR.swapaxes(0, 1),
    6: np.rot90(COLOUR, -1),
    7: COLOUR[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(COLOUR),
}


def save_turned(path: Path, pixels: np.ndarray, orientation: int) -> None:
    if path.suffix == ".tif":
        Image.fromarray(pixels).save(path, tiffinfo={274: orientation})
        return
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(path, exif=exif, lossless=True)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_size_and_pixels_are_those_displayed(suffix: str, orientation: int, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    save_turned(path, COLOUR, orientation)
    assert np.array_equal(decode_image(path), DISPLAYED[orientation])
    assert read_size(path) == DISPLAYED[orientation].shape[:2]
    assert read_header(path).orientation == orientation


@pytest.mark.parametrize("orientation", [3, 5, 6])
@pytest.mark.parametrize("deep", [False, True])
def test_grey_files_that_are_turned(deep: bool, orientation: int, tmp_path: Path) -> None:
    for suffix in (".png", ".tif"):
        path = tmp_path / f"a{suffix}"
        save_turned(path, GREY.astype(np.uint16) * 257 if deep else GREY, orientation)
        assert np.array_equal(decode_image(path)[..., 0], DISPLAYED[orientation][..., 0])
        assert read_size(path) == DISPLAYED[orientation].shape[:2]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_of_16_bits_the_upper_8_are_kept_in_every_container(suffix: str, channels: int, tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (20, 32, channels), np.uint16)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), deep)
    assert np.array_equal(decode_image(tmp_path / f"a{suffix}"), np.broadcast_to((deep >> 8)[..., ::-1], (20, 32, 3)))


def test_compressions_that_opencv_lacks(tmp_path: Path) -> None:
    for name, pixels in (("colour", COLOUR), ("deep", GREY.astype(np.uint16) * 257)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.tif", compression="zstd", tiffinfo={274: 6})
        expected = DISPLAYED[6] if name == "colour" else np.repeat(DISPLAYED[6][..., :1], 3, axis=2)
        assert np.array_equal(decode_image(tmp_path / f"{name}.tif"), expected)
        assert read_size(tmp_path / f"{name}.tif") == (32, 20)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int32, np.int16])
@pytest.mark.parametrize("channels", [1, 3])
def test_numbers_without_an_obvious_brightness_are_unsupported(kind: type, channels: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, np.zeros((4, 6, channels), kind))
    for read in (decode_image, read_size):
        with pytest.raises(
            UnreadableError, match=r"a\.tif cannot be read as image: unsupported format: TIFF with \d+-bit"
        ):
            read(path)
    assert read_header(path).size == (4, 6)


def write_tiff(path: Path, pixels: np.ndarray) -> None:
    """A plain TIFF of any kind of numbers, which neither Pillow nor OpenCV writes."""
    height, width, channels = pixels.shape
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    tags = [(256, width), (257, height), (258, pixels.itemsize * 8), (259, 1), (262, 1 if channels == 1 else 2)]
    tags += [(273, 8 + 2 + 12 * 10 + 4), (277, channels), (278, height), (279, pixels.nbytes), (339, kind)]
    with path.open("wb") as file:
        file.write(b"II*\0" + (8).to_bytes(4, "little") + len(tags).to_bytes(2, "little"))
        for tag, value in tags:  # one number for all channels, as most writers do
            file.write(tag.to_bytes(2, "little") + (4).to_bytes(2, "little") + (1).to_bytes(4, "little"))
            file.write(value.to_bytes(4, "little"))
        file.write(bytes(4) + pixels.tobytes())


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_what_a_phone_writes_behind_the_picture_does_no_harm(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(COLOUR).save(path)
    plain = decode_image(path)
    path.write_bytes(path.read_bytes() + b"\0\0\0\x18ftypmp42" + bytes(range(1, 200)) * 50)
    assert read_size(path) == (20, 32)
    assert np.array_equal(decode_image(path), plain)


def test_a_cut_photo_with_bytes_behind_it_is_corrupt(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(file, "PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue()[:2000] + bytes(9000))
    with pytest.raises(UserError, match="Corrupt image"):
        read_size(tmp_path / "a.png")


def test_more_pixels_than_pillow_lets_pass(tmp_path: Path) -> None:
    """As many as Pillow takes for an attack, in a file of a few kilobytes."""
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((13500, 13500), 7, np.uint8))
    assert read_size(path) == (13500, 13500)
    assert decode_image(path)[-1, -1].tolist() == [7, 7, 7]


def test_a_strip_longer_than_opencv_takes(tmp_path: Path) -> None:
    strip = np.full((2**20 + 24, 4), 120, np.uint8)
    strip[-1] = 20
    Image.fromarray(strip).save(tmp_path / "a.tif", compression="tiff_lzw")
    Image.fromarray(strip).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        assert read_size(tmp_path / name) == strip.shape
        assert np.array_equal(decode_image(tmp_path / name)[..., 1], strip)


def test_too_large_for_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((30, 50), np.uint8))
    monkeypatch.setattr(decode, "SMALL", 100)
    monkeypatch.setattr(decode, "free_memory", lambda: 8000)
    with pytest.raises(UserError, match=r"Too large: .*a\.png is 50x30.*GB are free"):
        decode_image(path)
    monkeypatch.setattr(decode, "free_memory", lambda: 9000)
    assert decode_image(path).shape == (30, 50, 3)


def test_the_free_memory_of_this_system() -> None:
    free = decode.free_memory()
    assert free is None or free > 2**20


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(40), "unsupported format: HEIC"),
        (b"\xff\x0a" + bytes(40), "unsupported format: JPEG XL"),
        (bytes(128) + b"DICM" + bytes(40), "unsupported format: DICOM"),
        (b"II+\0" + bytes(40), "unsupported format: BigTIFF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no known image format"),
    ],
)
def test_what_nobody_reads_is_named(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for read in (decode_image, read_size):
        with pytest.raises(UnreadableError, match=why):
            read(tmp_path / "a.png")


def test_an_error_of_a_worker_process_arrives_whole() -> None:
    error = UnreadableError(Path("a.png"), "image", "it has zero bytes")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.why) == (str(error), error.why)


def test_a_plain_file_is_what_every_program_shows_alike(tmp_path: Path) -> None:
    kinds = {
        "plain.jpg": (COLOUR, {}),
        "grey.png": (GREY, {}),
        "alpha.png": (np.dstack([COLOUR, GREY]), {}),
        "deep.png": (GREY.astype(np.uint16), {}),
        "tiff.tif": (COLOUR, {}),
    }
    for name, (pixels, options) in kinds.items():
        Image.fromarray(pixels).save(tmp_path / name, **options)
    save_turned(tmp_path / "turned.png", COLOUR, 6)
    (tmp_path / "png.jpg").write_bytes((tmp_path / "grey.png").read_bytes())
    plain = [path.name for path in sorted(tmp_path.iterdir()) if read_header(path).is_plain]
    assert plain == ["grey.png", "plain.jpg", "png.jpg"]
    assert read_header(tmp_path / "png.jpg").format == "PNG"
