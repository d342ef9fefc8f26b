"""What is inside a file: decoded in full, told in a few numbers that can be remembered."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from data.files import parse_yaml
from data.pixels.decode import UnreadableError, check_header, decode_image
from data.pixels.levels import decode_levels

Facts = dict[str, Any]  # JSON values only; see `look_into`


class Role(Enum):
    """What a file is looked at for."""

    IMAGE = "image"
    MASK = "mask"
    ANNOTATION = "annotation"


def look_into(path: Path, role: Role) -> Facts:
    """Reads a whole file.

    Returns:
        `fault` (a code) and `why` when it cannot be used. Otherwise, for images and masks, `format`, `mode`,
        `size` [width, height] as displayed, and `pages` where there are several; for images also `hash` of the RGB
        pixels, so that copies in another format are equal, and where a sample has more than 8 bits `bits` and
        `brightest`, the highest of the 8 that are kept; for masks also `levels` [[level, pixels], …] as `data.masks`
        decodes them, fractions rounded up and all above 255 taken together; for annotations `paths`, the strings that
        look like paths upwards or from the file system's root, and where it is told `image_size`.
    """
    try:
        content = path.read_bytes()
    except PermissionError:
        return {"fault": "permission-denied", "why": "The file cannot be opened."}
    except OSError as error:
        return {"fault": "broken-link", "why": f"The file cannot be opened: {error.strerror}."}
    if not content:
        return {"fault": "empty-file", "why": "The file has zero bytes."}
    return _parse(path, content) if role is Role.ANNOTATION else _decode(path, content, role)


def _decode(path: Path, content: bytes, role: Role) -> Facts:
    """Tries the file with the decoders that every command uses."""
    try:
        header = check_header(content, path, role.value)
        height, width = header.size
        facts: Facts = {"format": header.format, "mode": header.mode or str(header), "size": [width, height]}
        if header.pages > 1:
            facts["pages"] = header.pages
        if role is Role.MASK:
            return facts | {"levels": _count_levels(decode_levels(path, content))}
        pixels = decode_image(path, content)
    except UnreadableError as error:
        code = "unsupported-format" if error.is_unsupported else f"corrupt-{role.value}"
        return {"fault": code, "why": f"{'' if error.is_unsupported else 'Does not decode: '}{error.why}."}
    except UserError as error:
        return {"fault": "too-large", "why": str(error)}
    if header.bits > 8:
        facts |= {"bits": header.bits, "brightest": int(pixels.max())}
    return facts | {"hash": _hash_pixels(pixels)}


def _count_levels(levels: NDArray) -> list[list[int]]:
    if levels.dtype != np.uint8:  # a limit is a whole number below 255: what matters is kept
        levels = np.clip(np.ceil(np.nan_to_num(levels)), 0, 256).astype(np.uint16)
    counts = np.bincount(levels.ravel())
    return [[value, int(counts[value])] for value in np.flatnonzero(counts).tolist()]


def _hash_pixels(pixels: NDArray[np.uint8]) -> str:
    digest = hashlib.blake2b(f"{pixels.shape}".encode(), digest_size=16)
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def _parse(path: Path, content: bytes) -> Facts:
    try:
        text = content.decode("utf-8-sig")
        suffix = path.suffix.lower()
        if suffix == ".json":
            value = json.loads(text)
        elif suffix == ".csv":
            value = _read_csv(text)
        else:
            value = parse_yaml(text, path)
    except UnicodeDecodeError as error:
        return _unreadable(f"not UTF-8 at byte {error.start}")
    except json.JSONDecodeError as error:
        ends = " It ends in the middle." if error.pos >= len(text.rstrip()) else ""
        return _unreadable(f"not JSON at line {error.lineno}: {error.msg}.{ends}")
    except (ValueError, RecursionError) as error:
        return _unreadable(" ".join(str(error).split())[:200])
    facts: Facts = {"paths": sorted({text for text in _strings(value) if _is_suspect(text)})}
    if (
        isinstance(value, dict)
        and isinstance(value.get("imageWidth"), int)
        and isinstance(value.get("imageHeight"), int)
    ):
        facts["image_size"] = [value["imageWidth"], value["imageHeight"]]  # as labelme writes it
    return facts


def _unreadable(why: str) -> Facts:
    return {"fault": "unreadable-annotation", "why": f"Cannot be read: {why.rstrip('.')}."}


def _read_csv(text: str) -> list[list[str]]:
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise ValueError(f"row {number} has {len(row)} columns, the header has {len(rows[0])}")
    return rows


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _is_suspect(text: str) -> bool:
    plain = text.replace("\\", "/")
    return len(text) < 1000 and (".." in plain.split("/") or plain.startswith("/"))
