"""The files of an inspection: the log of rows, masks, overlays, thumbnails, the table and the summary.

OUT/results.jsonl    one row a photo, appended as they come: an inspection that was cut off goes on behind it
OUT/results.csv      the same for spreadsheets, in the order of the photos
OUT/report.html      the same for people
OUT/summary.json     how many of what, by which threshold, and what casts doubt on it
OUT/masks/<photo>.png  OUT/overlays/<photo>.jpg  OUT/thumbnails/<photo>.jpg      <photo> is its path below `images`
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.files import make_dir, read_jsonl, write_bytes, write_csv, write_jsonl
from data.row_log import RowLog
from data.sample import ImageArray
from eval.inspection.photos import Photo
from eval.inspection.rows import Row, from_json, to_json

LOG = "results.jsonl"
MASKS, OVERLAYS, THUMBNAILS = "masks", "overlays", "thumbnails"
QUALITY = 90  # of JPEG files
LONGEST = 65_500  # side of a JPEG file that OpenCV writes, in pixels
SIDE = 256  # longer side of a thumbnail, in pixels
COLUMNS = (
    *("image", "verdict", "score", "probability", "threshold", "defects", "names", "places", "boxes", "areas"),
    *("action", "reason", "description", "warnings", "error", "mask", "overlay"),
)


class Results:
    """The folder of an inspection.

    Args:
        out: The folder.
        rank: Each of several processes has a log of its own, which the next `resume` takes into the first.
    """

    def __init__(self, out: Path, rank: int = 0) -> None:
        self.out = make_dir(out)
        self.log = RowLog(out / (f"results.rank{rank}.jsonl" if rank else LOG))

    def merge(self) -> list[Row]:
        """Takes in what other processes logged, and reads all rows. One process may call it, while none adds."""
        path = self.out / LOG
        others = sorted(self.out.glob("results.rank*.jsonl"))
        values = [row for log in (path, *others) if log.is_file() for row in read_jsonl(log)]
        if others:
            write_jsonl(path, values)
            for other in others:
                other.unlink()
        return [from_json(row, path) for row in values]

    def resume(self, keys: Mapping[str, str]) -> dict[str, Row]:
        """The rows that still hold, by name: their key is the wanted one, and their files are there.

        Args:
            keys: Name of each photo → key of its row.
        """
        latest = {row.name: row for row in self.merge()}
        return {
            name: latest[name]
            for name, key in keys.items()
            if key and name in latest and latest[name].key == key and self._has_files(latest[name])
        }

    def _has_files(self, row: Row) -> bool:
        return all((self.out / name).is_file() for name in row.files)

    def write_mask(self, stem: str, mask: NDArray[np.bool_]) -> str:
        """Writes a mask, white on the defect; returns its path below the folder."""
        content = io.BytesIO()
        Image.fromarray(mask.astype(np.uint8) * 255).save(content, "PNG", compress_level=1)  # OpenCV: 1 million a side
        return self._write(f"{MASKS}/{stem}.png", content.getvalue())

    def write_overlay(self, stem: str, overlay: ImageArray) -> str:
        """Writes an overlay, smaller where JPEG cannot hold it; returns its path below the folder."""
        return self._write(f"{OVERLAYS}/{stem}.jpg", _as_jpeg(_shrink(overlay, LONGEST)))

    def write_thumbnail(self, stem: str, overlay: ImageArray) -> str:
        """Writes a small picture; returns its path below the folder."""
        return self._write(f"{THUMBNAILS}/{stem}.jpg", _as_jpeg(_shrink(overlay, SIDE)))

    def _write(self, name: str, content: bytes) -> str:
        write_bytes(self.out / name, content, durable=False)
        return name

    def add(self, row: Row) -> None:
        """Logs a row whose files are there."""
        self.log.add(to_json(row))


def name_files(photos: Sequence[Photo]) -> dict[str, str]:
    """Name of each photo → path of its files below `masks/` and its like, without a suffix.

    The suffix is left out, as annotation tools expect, but where two photos differ by nothing else.
    """
    stems = {photo.name: PurePosixPath(photo.name).with_suffix("").as_posix() for photo in photos}
    counts = Counter(stem.casefold() for stem in stems.values())
    return {name: _safe(name if counts[stem.casefold()] > 1 else stem) for name, stem in stems.items()}


def _safe(name: str) -> str:
    """Never outside the folder: a broken link may be named by an absolute path."""
    return "/".join(part for part in PurePosixPath(name).parts if part not in ("/", ".."))


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Writes `results.csv`, in UTF-8: regions in the order of their size, joined by `; `."""
    write_csv(path, COLUMNS, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    regions = row.regions
    return [
        row.image,
        row.verdict.value,
        _number(row.score),
        _number(row.probability),
        _number(row.threshold),
        str(len(regions)),
        "; ".join(region.name or "" for region in regions),
        "; ".join(region.place for region in regions),
        "; ".join(" ".join(map(str, region.box)) for region in regions),
        "; ".join(str(region.area) for region in regions),
        row.action,
        row.reason,
        row.description,
        " ".join(row.warnings),
        row.error,
        row.mask,
        row.overlay,
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _shrink(picture: ImageArray, longest: int) -> ImageArray:
    """A picture whose longer side has at most so many pixels."""
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _as_jpeg(picture: ImageArray) -> bytes:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
