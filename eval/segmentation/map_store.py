"""Anomaly maps on disk, one row and one array an image, appended as they come so that a cut-off run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from data.files import make_dir, read_jsonl, write_jsonl
from data.readers.annotations import find_inside
from data.row_log import RowLog
from models.experts.map_file import read_map, write_map

SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRow:
    """One evaluated image.

    Attributes:
        id: Sample id.
        key: Hash of everything that the map depends on: who made it, the bytes of the image, the prompt.
        image: Path of the image.
        category: Object type.
        defect: Name of the defect type, None when normal.
        prompt: What the model was told.
        score: The image score that came with the map, higher is worse; None for maps from files, which have none.
        map: Path of the (H, W) float32 array, below the folder of the store.
        size: Its height and width; empty in rows of older versions.
    """

    id: str
    key: str
    image: str
    category: str
    defect: str | None
    prompt: str
    score: float | None
    map: str
    size: list[int] = field(default_factory=list)


class MapStore:
    """`<folder>/images.jsonl`, `<folder>/maps/<sample id>.npy` and `<folder>/scores.jsonl`.

    `scores.jsonl` remembers figures that were read off a map, by a key that names the map and the figure.
    Several ranks can add rows at a time: each writes to logs of its own, which `resume` takes into the first.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder = folder
        self.log = folder / f"images{SUFFIX}"
        own = f".rank{rank}" if rank else ""
        self._rows, self._scores = (RowLog(folder / f"{name}{own}{SUFFIX}") for name in ("images", "scores"))

    def resume(self, keys: Mapping[str, str]) -> dict[str, MapRow]:
        """The rows that still hold, by sample id. Only one rank may call it, while none adds.

        Rows of other samples stay in the log: whoever looks at a part of a dataset does not lose the rest. A row whose
        map has to be made anew is taken out, for the new map replaces the file that it names.

        Args:
            keys: The key of each sample that is to be evaluated now.
        """
        make_dir(self.folder)
        values, merged = self._merge("images")
        rows = {row.id: row for row in _read_rows(values, self.log)}
        stale = {name for name, key in keys.items() if name in rows and not self._holds(rows[name], key)}
        kept = {name: row for name, row in rows.items() if name not in stale}
        if merged or stale:
            write_jsonl(self.log, [asdict(row) for row in kept.values()])
            for path in merged:
                path.unlink()
        return {name: kept[name] for name in keys if name in kept}

    def _holds(self, row: MapRow, key: str) -> bool:
        return row.key == key and self.path(row).is_file()

    def _merge(self, name: str) -> tuple[list[dict[str, Any]], list[Path]]:
        """The rows of a log and of what other ranks added to it, and the logs of those ranks."""
        others = sorted(self.folder.glob(f"{name}.rank*{SUFFIX}"))
        logs = [path for path in (self.folder / f"{name}{SUFFIX}", *others) if path.is_file()]
        return [row for path in logs for row in read_jsonl(path)], others

    def scores(self) -> dict[str, float]:
        """What `add_score` remembered, by key. Only one rank may call it, while none adds."""
        rows, merged = self._merge("scores")
        if merged:
            write_jsonl(self.folder / f"scores{SUFFIX}", rows)
            for path in merged:
                path.unlink()
        try:
            return {row["key"]: row["score"] for row in rows}
        except (KeyError, TypeError) as error:
            raise UserError(f"Unreadable rows in {self.folder / 'scores.jsonl'}: {error!r}. Delete it.") from error

    def path(self, row: MapRow) -> Path:
        """Where the map of a row is: below the folder, or elsewhere if another method wrote it.

        Raises:
            UserError: If a relative path leads out of the folder.
        """
        return Path(row.map) if Path(row.map).is_absolute() else find_inside(self.folder, row.map, self.log)

    def save(self, sample_id: str, anomaly_map: NDArray[np.floating]) -> str:
        """Saves a map and returns its path for `MapRow.map`."""
        path = Path("maps") / f"{sample_id}.npy"
        write_map(self.folder / path, anomaly_map)
        return path.as_posix()

    @contextmanager
    def writing(self) -> Iterator[Self]:
        """A block in which rows and scores are added; all are on disk when it is left."""
        with self._rows, self._scores:
            yield self

    def add_row(self, row: MapRow) -> None:
        """Logs a row whose map is there already."""
        self._rows.add(asdict(row))

    def add_score(self, key: str, score: float) -> None:
        """Remembers a figure by its key."""
        self._scores.add({"key": key, "score": score})

    def rows(self) -> list[MapRow]:
        """All rows.

        Raises:
            UserError: If the log is missing or was written by another version.
        """
        return _read_rows(read_jsonl(self.log), self.log)

    def load(self, row: MapRow) -> NDArray[np.floating]:
        """Reads the anomaly map of a row, (H, W).

        Raises:
            UserError: If the file is missing or damaged.
        """
        try:
            return read_map(self.path(row))
        except UserError as error:
            raise UserError(
                f"{error} If this evaluation wrote it: delete it and run the same command again."
            ) from error


def _read_rows(rows: Sequence[dict[str, Any]], path: Path) -> list[MapRow]:
    try:  # `resized` was a column once
        return [MapRow(**{name: value for name, value in row.items() if name != "resized"}) for row in rows]
    except TypeError as error:
        raise UserError(f"Unreadable rows in {path}: {error}. Delete {path.parent} and run again.") from error
