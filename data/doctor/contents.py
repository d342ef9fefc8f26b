"""What is inside a file: decoded in full, told in a few numbers that can be remembered."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import warnings
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from PIL import Image, UnidentifiedImageError

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
        `size` [width, height]; for images also `hash` of the RGB pixels, so that copies in another format are equal;
        for masks also `levels` [[grey value, pixels], …] as `data.masks` decodes them; for annotations `paths`,
        the strings that look like paths upwards or from the file system's root, and where it is told `image_size`.
    """
    try:
        content = path.read_bytes()
    except PermissionError:
        return {"fault": "permission-denied", "why": "The file cannot be opened."}
    except OSError as error:
        return {"fault": "broken-link", "why": f"The file cannot be opened: {error.strerror}."}
    if not content:
        return {"fault": "empty-file", "why": "The file has zero bytes."}
    return _parse(path, content) if role is Role.ANNOTATION else _decode(content, role)


def _decode(content: bytes, role: Role) -> Facts:
    corrupt = f"corrupt-{role.value}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a large image is no fault; one beyond Pillow's limit raises
            with Image.open(io.BytesIO(content)) as image:
                image.load()  # Pillow refuses truncated files, which OpenCV fills up with grey
                facts: Facts = {"format": image.format, "mode": image.mode, "size": list(image.size)}
                if role is Role.IMAGE:
                    facts["hash"] = _hash_pixels(image)
    except UnidentifiedImageError:
        return {"fault": corrupt, "why": f"Does not decode: {_describe(content)}."}
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        return {"fault": corrupt, "why": f"Does not decode: {error}."}
    if role is Role.MASK:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
        if pixels is None:
            return {"fault": corrupt, "why": f"OpenCV does not decode this {facts['format']} ({facts['mode']})."}
        counts = np.bincount(pixels.ravel(), minlength=256)
        facts["levels"] = [[value, int(counts[value])] for value in np.flatnonzero(counts).tolist()]
    return facts


def _hash_pixels(image: Image.Image) -> str:
    digest = hashlib.blake2b(f"{image.size}".encode(), digest_size=16)
    deep = image.mode.startswith(("I", "F"))  # converting more than 8 bits would cut them off
    digest.update((image if deep else image.convert("RGB")).tobytes())
    return digest.hexdigest()


def _describe(content: bytes) -> str:
    """What a file that is no image seems to be."""
    head = content[:256].lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, the file itself was not downloaded (git lfs pull)"
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, probably the answer to a failed download"
    if not content.strip(b"\0"):
        return "zeros only, probably a download that was cut off"
    for magic, name in ((b"PK\x03\x04", "a ZIP archive"), (b"\x1f\x8b", "a gzip archive"), (b"%PDF", "a PDF")):
        if content.startswith(magic):
            return name
    return f"no known image format, it begins with {content[:8].hex(' ')}"


def _parse(path: Path, content: bytes) -> Facts:
    try:
        text = content.decode("utf-8-sig")
        suffix = path.suffix.lower()
        if suffix == ".json":
            value = json.loads(text)
        elif suffix == ".csv":
            value = _read_csv(text)
        else:
            value = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        return _unreadable(f"not UTF-8 at byte {error.start}")
    except json.JSONDecodeError as error:
        ends = " It ends in the middle." if error.pos >= len(text.rstrip()) else ""
        return _unreadable(f"not JSON at line {error.lineno}: {error.msg}.{ends}")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
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
