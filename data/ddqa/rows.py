"""The images that DDQA's rows name: in a run relative to it, so that it may be moved; in the published form absolute.

The published form (`sources=… out=…`) is what other programs read, ms-swift's own command line among them, which know
no run: its paths stay absolute, its files byte for byte what they were. A run's rows are read through `read_rows`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from data.files import read_jsonl


def name_image(image: str, run: Path) -> str:
    """How a row of a run names an image: relative to the run where it lies below it, in POSIX form.

    Args:
        image: Absolute path.
        run: The run directory, absolute and without links.
    """
    path = Path(image)
    return path.relative_to(run).as_posix() if path.is_relative_to(run) else image


def read_rows(path: Path) -> list[Any]:
    """The rows of a DDQA file with images as they are found from here.

    Args:
        path: `RUN/ddqa/<part>.jsonl`, whose relative images lie below RUN, or any other file of rows, whose relative
            images lie below the current directory.

    Raises:
        UserError: If the file is missing or no JSON lines. Rows are not checked otherwise.
    """
    run = path.parent.parent

    @cache
    def find(image: str) -> str:
        below = run / image
        return str(below.absolute()) if not Path(image).is_absolute() and below.is_file() else image

    rows = read_jsonl(path)
    for row in rows:
        if isinstance(row, dict) and isinstance(row.get("images"), list):
            row["images"] = [find(image) if isinstance(image, str) else image for image in row["images"]]
    return rows
