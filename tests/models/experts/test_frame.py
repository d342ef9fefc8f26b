from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.sample import ImageArray
from models.experts.expert import Gate
from models.experts.frame import FRAME, ROI, Frame, Framed, make_frame, read_frame

SIDE = 256  # what the expert below sees of whatever it is given, as real ones do


class Deviation:
    """The grey value's distance from the usual one, seen at 256x256."""

    def __init__(self) -> None:
        self.gates = {"sheet": Gate(20, 20)}
        self.seen: list[tuple[int, ...]] = []

    def check(self, categories: Sequence[str]) -> None:
        assert set(categories) <= {"sheet"}

    def score(self, category: str, images: Sequence[ImageArray]) -> list[tuple[np.ndarray, float]]:
        found = []
        for image in images:
            self.seen.append(image.shape)
            small = cv2.resize(image[..., 0], (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
            small = np.abs(small - 128)
            found.append((cv2.resize(small, image.shape[1::-1]), float(small.max())))
        return found


def test_a_scratch_of_12_pixels_on_36_megapixels_is_found_in_tiles_alone() -> None:
    photo = np.full((6000, 6000, 3), 128, np.uint8)
    photo[4321, 1234:1246] = 255
    (_, whole), (_, none) = Deviation().score("sheet", [photo, np.full_like(photo[:600, :600], 128)])
    assert whole < 20 and none == 0  # on the whole photo it drowns
    expert = Deviation()
    ((found, score),) = Framed(expert, Frame(tiles=24, overlap=0.2)).score("sheet", [photo])
    assert len(expert.seen) == 576 and score >= 20
    assert found.shape == (6000, 6000) and found.dtype == np.float32 and np.isfinite(found).all()
    ys, xs = np.nonzero(found >= 20)
    assert abs(ys - 4321).max() <= 2 and xs.min() >= 1230 and xs.max() <= 1250


def test_tiles_cover_every_pixel_and_agree_where_they_overlap() -> None:
    for size, tiles in (((100, 300), 3), ((300, 100), 5), ((64, 64), 1), ((97, 101), 4)):
        frame = Frame(tiles=tiles, overlap=0.25)
        boxes = frame.boxes(size)
        ramp = np.add.outer(np.arange(size[0]), np.arange(size[1])).astype(np.float32)
        merged = frame.merge(iter([(box, ramp[box.y0 : box.y1, box.x0 : box.x1]) for box in boxes]), size)
        np.testing.assert_allclose(merged, ramp, rtol=1e-4, atol=1e-3)
        assert max(box.x1 - box.x0 for box in boxes) <= max(size)
    along = {(box.x0, box.x1) for box in Frame(tiles=3, overlap=0.25).boxes((100, 300))}
    assert len(along) == 3


def test_nothing_outside_of_the_region_is_seen() -> None:
    photo = np.full((200, 400, 3), 128, np.uint8)
    photo[:50] = 255  # a clamp at the edge
    region = np.zeros((100, 200), bool)  # half as large as the photo: it is stretched
    region[40:90, 20:180] = True
    for frame in (Frame(region), Frame(region, tiles=4), make_frame("0.1,0.4 0.9,0.4 0.9,0.9 0.1,0.9", 2, 0.2)):
        ((found, score),) = Framed(Deviation(), frame).score("sheet", [photo])
        assert score == 0 and found.max() == 0
        marked = photo.copy()
        marked[100:120, 100:120] = 0
        ((found, score),) = Framed(Deviation(), frame).score("sheet", [marked])
        assert score > 100 and found[110, 110] > 100 and found[:70].max() == found.min()


def test_a_frame_is_stored_with_its_expert(tmp_path: Path) -> None:
    region = np.zeros((10, 20), bool)
    region[2:8, 3:15] = True
    Frame(region, tiles=3, overlap=0.1).save(tmp_path)
    again = read_frame(tmp_path)
    assert again and (again.tiles, again.overlap) == (3, 0.1) and np.array_equal(again.inside((10, 20)), region)
    polygon = make_frame("10,10; 90,10; 50,90", 1, 0.2)
    polygon.save(tmp_path)
    assert not (tmp_path / ROI).exists() and read_frame(tmp_path).polygon == polygon.polygon
    Frame().save(tmp_path)  # an expert that is fitted anew without one
    assert not (tmp_path / FRAME).exists() and not read_frame(tmp_path)
    (tmp_path / FRAME).write_text("[]")
    with pytest.raises(UserError, match="Not a frame"):
        read_frame(tmp_path)


def test_bad_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tiles=0"):
        Frame(tiles=0)
    with pytest.raises(UserError, match=r"overlap=0\.9"):
        Frame(overlap=0.9)
    with pytest.raises(UserError, match="neither the file of a mask nor a polygon"):
        make_frame("missing.png", 1, 0.2)
    with pytest.raises(UserError, match="region of interest is empty"):
        Frame(np.zeros((4, 4), bool))
    with pytest.raises(UserError, match=r"photo of 100x200 .* region of interest, 200x100"):
        Frame(np.ones((100, 200), bool)).boxes((200, 100))
    with pytest.raises(UserError, match="leaves a photo of 50x50"):
        make_frame("10,10 90,10 50,90", 1, 0.2).boxes((50, 50))
