"""The log of judgements: a folder that is only added to.

    DIR/judgements.sqlite     one row a judgement; the database itself refuses to change or remove one
    DIR/photos/<hash>.jpg     the photos as they were handed in, each once, by the hash of their bytes
    DIR/masks/<hash>.png      the masks, likewise; white is defect

A correction of a correction is another row: the last word on a photo counts. Files are whole before the row that names
them is written, so a process that is killed leaves at most a file that no row names. Processes and threads may append
side by side; SQLite lets one in after the other.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from data.errors import UserError, brief, writing
from data.files import make_dir, write_bytes
from data.masks import MaskFile, decode_mask
from data.pixels.decode import check_header, check_memory, check_photo, decode_image, read_file
from data.processes.lock import held
from data.sample import MaskArray
from eval.judgements.judgement import HASH, Finding, JudgedRegion, Judgement, check

DATABASE, PHOTOS, MASKS = "judgements.sqlite", "photos", "masks"
APPLICATION = 0x45494A44  # SQLite's application_id of the file: "EIJD"
VERSION = 1  # of the table
WAIT_SECONDS = 60.0  # for another writer
SUFFIXES = {  # format of a photo → suffix of its file
    **{"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp", "GIF": ".gif"},
    **{"JPEG2000": ".jp2", "AVIF": ".avif", "PPM": ".ppm"},
}
COLUMNS = (
    *("photo", "image_hash", "suffix", "model", "user", "time", "finding", "score", "verdict", "regions"),
    *("category", "note", "mask"),
)
SCHEMA = f"""
CREATE TABLE judgements (id INTEGER PRIMARY KEY AUTOINCREMENT, {", ".join(f"{name} NOT NULL" for name in COLUMNS)});
CREATE INDEX by_image ON judgements (image_hash);
CREATE TRIGGER never_changed BEFORE UPDATE ON judgements BEGIN SELECT RAISE(ABORT, 'judgements are only added'); END;
CREATE TRIGGER never_removed BEFORE DELETE ON judgements BEGIN SELECT RAISE(ABORT, 'judgements are only added'); END;
CREATE TRIGGER never_replaced BEFORE INSERT ON judgements WHEN EXISTS (SELECT 1 FROM judgements WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'judgements are only added'); END;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""


def hash_photo(content: bytes) -> str:
    """The hash by which a log knows a photo: SHA-256 of its bytes, as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


class JudgementLog:
    """Judgements in a folder; made with the first one.

    Args:
        folder: The log's folder.

    Raises:
        UserError: If it is no folder, or there is a log that cannot be read: damaged, of a newer version, or no log of
            judgements.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file, and a log of judgements is a folder. Give judgements=FOLDER.")
        self.path = self.folder / DATABASE
        if self._is_there():
            with self._opened():
                pass

    @property
    def is_writable(self) -> bool:
        """Whether a judgement could be added: the folder may be written to, or be made."""
        there = next(place for place in (self.folder.absolute(), *self.folder.absolute().parents) if place.exists())
        return there.is_dir() and os.access(there, os.W_OK)

    def append(self, judgement: Judgement, image: bytes | Path, mask: MaskArray | None = None) -> int:
        """Adds a judgement; its photo is kept, and its mask.

        Args:
            judgement: What was said; its `id` and `mask` are not read.
            image: The photo, as bytes or as a file. It must decode.
            mask: (H, W) bool at the photo's displayed size, True on the defect: all regions that stand.

        Returns:
            The judgement's number.

        Raises:
            UserError: If a value makes no sense, the photo does not decode or is another one than the hash says, the
                mask is missing where one was drawn, or of another size, or the log cannot be written.
        """
        check(judgement)
        given = Path(judgement.photo).name
        content = read_file(image, "image") if isinstance(image, Path) else image
        if not content:
            raise UserError(f"The photo {brief(given)} has zero bytes. Hand it in again.")
        if hash_photo(content) != judgement.image_hash:
            raise UserError(f"The photo {brief(given)} is not the one that was judged: its hash is another one.")
        header = check_header(content, Path(given), "image")
        check_photo(header, Path(given))
        check_memory(header, Path(given))
        size = decode_image(Path(given), content).shape[:2]
        _check_mask(judgement, mask, size)
        suffix = SUFFIXES[header.format]
        photo = self.folder / PHOTOS / f"{judgement.image_hash}{suffix}"
        if not photo.is_file():
            write_bytes(photo, content)
        return self._insert(judgement, suffix, self._keep_mask(mask))

    def __iter__(self) -> Iterator[Judgement]:
        """All judgements, in the order of their arrival."""
        for row in self._select("ORDER BY id"):
            yield self._read(row)

    def __len__(self) -> int:
        """Number of judgements."""
        if not self._is_there():
            return 0
        with self._opened() as database:
            return int(database.execute("SELECT COUNT(*) FROM judgements").fetchone()[0])

    def latest(self) -> dict[str, Judgement]:
        """The last word on each photo, by the hash of its bytes, in the order in which photos were first judged."""
        return {judgement.image_hash: judgement for judgement in self}

    def models(self) -> dict[str, int]:
        """How many judgements are of which model's verdicts; the most first."""
        return dict(Counter(judgement.model for judgement in self).most_common())

    def image_path(self, image_hash: str) -> Path:
        """The file of a photo that was judged.

        Raises:
            UserError: If it was never judged, or its file is gone.
        """
        rows = self._select("WHERE image_hash = ? ORDER BY id DESC LIMIT 1", image_hash)
        if not rows:
            raise UserError(f"No judgement of the photo {brief(image_hash)} in {self.path}. Name one of its own.")
        judgement = self._read(rows[0])
        return self._whole(PHOTOS, f"{judgement.image_hash}{rows[0][COLUMNS.index('suffix') + 1]}")

    def mask_path(self, judgement: Judgement) -> Path | None:
        """The file of a judgement's mask; None where it has none.

        Raises:
            UserError: If it is gone.
        """
        return self._whole(MASKS, f"{judgement.mask}.png") if judgement.mask else None

    def mask(self, image_hash: str) -> MaskArray | None:
        """The mask of the last word on a photo, (H, W) bool; None where it has none, or the photo was never judged.

        Raises:
            UserError: If its file is gone or does not decode.
        """
        rows = self._select("WHERE image_hash = ? ORDER BY id DESC LIMIT 1", image_hash)
        path = self.mask_path(self._read(rows[0])) if rows else None
        return None if path is None else decode_mask(MaskFile(path))

    def _keep_mask(self, mask: MaskArray | None) -> str:
        if mask is None or not mask.any():
            return ""
        content = cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes()
        name = hash_photo(content)
        path = self.folder / MASKS / f"{name}.png"
        if not path.is_file():
            write_bytes(path, content)
        return name

    def _whole(self, folder: str, name: str) -> Path:
        path = self.folder / folder / name
        if not path.is_file():
            raise UserError(f"Missing file of the log: {path}. Restore it; nothing in the log can replace it.")
        return path

    def _insert(self, judgement: Judgement, suffix: str, mask: str) -> int:
        self._create()
        values = {**asdict(judgement), "suffix": suffix, "mask": mask, "finding": judgement.finding.value}
        values["regions"] = json.dumps([asdict(region) for region in judgement.regions], ensure_ascii=False)
        question = f"INSERT INTO judgements ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
        with writing(self.path), self._opened() as database:
            try:
                number = database.execute(question, [values[name] for name in COLUMNS]).lastrowid
            except sqlite3.OperationalError as error:
                raise UserError(f"Cannot write to {self.path}: {error}. Nothing was added; try again.") from error
        assert number is not None
        return number

    def _is_there(self) -> bool:
        """Whether there is a database; one of zero bytes was just being made, by a process that may be gone."""
        return self.path.exists() and self.path.stat().st_size > 0

    def _has_unmerged(self) -> bool:
        """Whether the latest judgements are in SQLite's write-ahead file only."""
        ahead = self.path.with_name(f"{DATABASE}-wal")
        return ahead.is_file() and ahead.stat().st_size > 0

    def _create(self) -> None:
        """Makes the database, once, whoever comes first."""
        if self._is_there():
            return
        make_dir(self.folder)
        with held(self.path, wait=WAIT_SECONDS):
            if self._is_there():
                return
            with writing(self.path), closing(sqlite3.connect(self.path, WAIT_SECONDS, isolation_level=None)) as new:
                new.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT; PRAGMA journal_mode = WAL;")

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own, for threads share none; checked to be one to a log of this version."""
        mode = "rw"
        if not os.access(self.folder, os.W_OK):  # no lock can be made; but `immutable` passes over what is unmerged
            mode = "ro" if self._has_unmerged() else "ro&immutable=1"
        address = f"{self.path.resolve().as_uri()}?mode={mode}"
        try:
            with closing(sqlite3.connect(address, WAIT_SECONDS, isolation_level=None, uri=True)) as database:
                application = database.execute("PRAGMA application_id").fetchone()[0]
                version = database.execute("PRAGMA user_version").fetchone()[0]
                if application != APPLICATION:
                    raise UserError(f"{self.path} is a database of another program. Choose another folder.")
                if version > VERSION:
                    raise UserError(f"{self.path} was written by a newer version of EIAD ({version}). Use that one.")
                yield database
        except sqlite3.IntegrityError as error:
            raise UserError(f"{self.path}: {error}.") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and mode == "ro":
                raise UserError(
                    f"{self.path} holds judgements that are not merged yet, and its folder may only be read. End the "
                    "page that writes to it, or copy the folder to where it may be written."
                ) from error
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise UserError(f"Cannot open {self.path}: {error}. Check its permissions and the disk.") from error
            raise UserError(f"Not a whole log of judgements: {self.path} ({error}). Restore a copy of it.") from error

    def _select(self, where: str, *values: str) -> list[tuple]:
        if not self._is_there():
            return []
        with self._opened() as database:
            return database.execute(f"SELECT id, {', '.join(COLUMNS)} FROM judgements {where}", values).fetchall()

    def _read(self, row: tuple) -> Judgement:
        number, *cells = row
        values = dict(zip(COLUMNS, cells, strict=True))
        suffix, mask = values.pop("suffix"), values.pop("mask")
        try:
            regions = json.loads(values.pop("regions"))
            read = Judgement(
                **{
                    **values,
                    "finding": Finding(values["finding"]),
                    "regions": tuple(JudgedRegion(**{**region, "box": tuple(region["box"])}) for region in regions),
                }
            ).placed(number, mask)
            check(read)
            if suffix not in SUFFIXES.values() or (mask and not HASH.fullmatch(mask)):
                raise ValueError(f"no name of a file: {brief(suffix)}, {brief(mask)}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"Judgement {number} in {self.path} is damaged: {error}. Restore a copy of it.") from error
        return read


def _check_mask(judgement: Judgement, mask: MaskArray | None, size: tuple[int, ...]) -> None:
    """Refuses a mask that is not one of the photo, and a drawn one that is not there.

    Raises:
        UserError: Saying what is wrong.
    """
    if mask is not None and mask.dtype != np.bool_:
        raise UserError(f"The mask must be bool, True on the defect, not {mask.dtype}.")
    if mask is not None and mask.shape != size:
        given = " × ".join(map(str, mask.shape[::-1]))
        raise UserError(f"The mask is {given} pixels, the photo {size[1]} × {size[0]} (width × height).")
    drawn = mask is not None and bool(mask.any())
    if judgement.finding is Finding.redrawn and not drawn:
        raise UserError("Nothing is drawn. Draw the defect, or say that the product is fine.")
    if judgement.finding is Finding.fine and drawn:
        raise UserError("A product that is fine has no defect: leave the mask out.")
