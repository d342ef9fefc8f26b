"""Anomaly maps on disk, one row and one array an image, appended as they come so that a cut-off run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from data.files import append_jsonl, make_dir, read_jsonl, write_jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRow:
    """One evaluated image.

    Attributes:
        id: Sample id.
        key: Hash of everything that the map depends on: model, image bytes, prompt.
        image: Path of the image.
        category: Object type.
        defect: Name of the defect type, None when normal.
        prompt: What the model was told.
        score: Image score, higher is worse.
        map: Path of the (H, W) float32 array, below the folder of the store.
        resized: Whether the map had to be brought to the resolution of the evaluation from an unexpected size.
    """

    id: str
    key: str
    image: str
    category: str
    defect: str | None
    prompt: str
    score: float
    map: str
    resized: bool = False


class MapStore:
    """`<folder>/images.jsonl` and `<folder>/maps/<sample id>.npy`.

    Several ranks can add rows at a time: each writes to a log of its own, which `resume` takes into the first.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder = folder
        self.log = folder / "images.jsonl"
        self._own_log = folder / f"images.rank{rank}.jsonl" if rank else self.log

    def resume(self, keys: Mapping[str, str]) -> dict[str, MapRow]:
        """Rows that still hold, by sample id; all others are dropped. Only one rank may call it, while none adds.

        Args:
            keys: The key of each sample that is to be evaluated now.
        """
        make_dir(self.folder)
        logs = [path for path in (self.log, *self._rank_logs()) if path.is_file()]
        rows = [row for path in logs for row in _read_rows(path, self.folder)]
        kept = {row.id: row for row in rows if keys.get(row.id) == row.key and self.path(row).is_file()}
        if len(kept) != len(rows) or logs[1:]:
            write_jsonl(self.log, [asdict(row) for row in kept.values()])
        for path in self._rank_logs():
            path.unlink()
        return kept

    def _rank_logs(self) -> list[Path]:
        return sorted(self.folder.glob("images.rank*.jsonl"))

    def path(self, row: MapRow) -> Path:
        """Where the map of a row is: below the folder, or elsewhere if another method wrote it."""
        return self.folder / row.map

    def log_rows(self, rows: list[MapRow]) -> None:
        """Logs rows whose maps are there already."""
        append_jsonl(self._own_log, [asdict(row) for row in rows])

    def add(self, rows: list[dict[str, Any]], maps: list[NDArray[np.float32]]) -> list[MapRow]:
        """Saves some maps and then logs their rows (without `map`, which is filled in here)."""
        added = []
        for row, anomaly_map in zip(rows, maps, strict=True):
            path = Path("maps") / f"{row['id']}.npy"
            make_dir((self.folder / path).parent)
            np.save(self.folder / path, anomaly_map.astype(np.float32, copy=False))
            added.append(MapRow(**row, map=path.as_posix()))
        self.log_rows(added)
        return added

    def rows(self) -> list[MapRow]:
        """All rows.

        Raises:
            UserError: If the log is missing or was written by another version.
        """
        return _read_rows(self.log, self.folder)

    def load(self, row: MapRow) -> NDArray[np.float32]:
        """Reads the anomaly map of a row, (H, W) float32.

        Raises:
            UserError: If the file is missing or damaged.
        """
        path = self.path(row)
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"Unreadable anomaly map: {path} ({error}). Delete {self.folder} and run again.") from error


def _read_rows(path: Path, folder: Path) -> list[MapRow]:
    try:
        return [MapRow(**row) for row in read_jsonl(path)]
    except TypeError as error:
        raise UserError(f"Unreadable rows in {path}: {error}. Delete {folder} and run again.") from error
