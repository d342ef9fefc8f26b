"""The header of a picture file: its format, its size as displayed, how many bits a sample has and of which kind."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

ORIENTATION, BITS, KIND = 274, 258, 339  # tags of TIFF; EXIF shares the first
KINDS = {1: "integers", 2: "signed integers", 3: "floating-point numbers"}
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "JPEG2000", "AVIF", "PPM")  # none of them runs a program
TIFF_HEADS = (b"II*\0", b"MM\0*")
PAGED = ("TIFF", "GIF")
STRANGERS = (  # (offset, bytes there, what the file is)
    (0, b"version https://git-lfs", "a Git LFS pointer, the file itself was not downloaded (git lfs pull)"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"%PDF", "a PDF"),
    (4, b"ftypheic", "unsupported format: HEIC. Convert it to PNG or JPEG"),
    (4, b"ftypheix", "unsupported format: HEIC. Convert it to PNG or JPEG"),
    (4, b"ftypmif1", "unsupported format: HEIF. Convert it to PNG or JPEG"),
    (0, b"\xff\x0a", "unsupported format: JPEG XL. Convert it to PNG or JPEG"),
    (4, b"JXL \r\n\x87\n", "unsupported format: JPEG XL. Convert it to PNG or JPEG"),
    (0, b"v/1\x01", "unsupported format: OpenEXR. Save it as PNG with 8 or 16 bits"),
    (0, b"II+\0", "unsupported format: BigTIFF. Save it as TIFF or PNG"),
    (0, b"MM\0+", "unsupported format: BigTIFF. Save it as TIFF or PNG"),
    (0, b"\x93NUMPY", "unsupported format: a NumPy array. Save it as PNG"),
    (128, b"DICM", "unsupported format: DICOM. Save it as PNG with 8 or 16 bits"),
)
UNSUPPORTED = "unsupported format"


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about its picture before it is decoded.

    Attributes:
        format: Name of the format as Pillow gives it; a JPEG of several pictures, as phones write it, is `JPEG`.
        mode: Pillow's mode, e.g. `RGB` or `I;16`; empty where Pillow knows none.
        size: (height, width) as displayed.
        orientation: 1..8 as in EXIF; 1 is upright.
        bits: Bits a sample.
        kind: One of `KINDS`.
        pages: Pictures in the file, for formats that have pages.
    """

    format: str
    mode: str
    size: tuple[int, int]
    orientation: int = 1
    bits: int = 8
    kind: str = KINDS[1]
    pages: int = 1

    def __str__(self) -> str:
        return f"{self.format} with {self.bits}-bit {self.kind}"

    @property
    def is_photo(self) -> bool:
        """Whether samples are integers of at most 16 bits, which have one obvious conversion to 8."""
        return self.kind == KINDS[1] and self.bits <= 16

    @property
    def is_plain(self) -> bool:
        """Whether every program shows this file as the project sees it: an upright 8-bit grey or RGB PNG, JPEG, BMP."""
        known = self.format in ("PNG", "JPEG", "BMP") and self.mode in ("L", "RGB")
        return known and self.orientation == 1 and self.bits == 8


@contextmanager
def opened(file: BinaryIO) -> Iterator[Image.Image]:
    """Pillow's image of an open file, without its limit of 178 megapixels: `decode` looks at the free memory instead.

    Raises:
        UnidentifiedImageError: If the format is none of `FORMATS`; other errors of Pillow if the header is damaged.
    """
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(file, formats=FORMATS) as image:
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = before


def parse_header(file: BinaryIO) -> Header:
    """Reads the header of an open file.

    Raises:
        ValueError: Saying what the file seems to be, if it is no picture that can be decoded.
    """
    try:
        with opened(file) as image:
            return _describe(image, file)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, TypeError, KeyError) as error:
        if tags := _tiff_tags(file):
            return _describe_tags(tags)
        file.seek(0)
        raise ValueError(guess_format(file.read(256))) from error


def _describe(image: Image.Image, file: BinaryIO) -> Header:
    width, height = image.size
    known = "JPEG" if image.format == "MPO" else image.format or ""
    pages = getattr(image, "n_frames", 1) if known in PAGED else 1
    if known == "TIFF":  # Pillow has turned the size already
        tags = image.tag_v2  # type: ignore[attr-defined]
        bits, kind = _depth(tags)
        turn = tags.get(ORIENTATION, 1)
        return Header(known, image.mode, (height, width), turn, bits, kind, pages)
    # getexif decodes a PNG that holds none, hence the look at info
    turn = image.getexif().get(ORIENTATION, 1) if known != "PNG" or "exif" in image.info else 1
    turn = turn if turn in range(1, 9) else 1
    bits = 32 if image.mode in ("I", "F") else 16 if image.mode.startswith("I;16") else 8
    if known == "PNG":
        file.seek(24)  # in its first chunk, behind width and height
        bits = max(8, file.read(1)[0])
    size = (width, height) if turn >= 5 else (height, width)
    return Header(known, image.mode, size, turn, bits, KINDS[3] if image.mode == "F" else KINDS[1], pages)


def _tiff_tags(file: BinaryIO) -> ImageFileDirectory_v2 | None:
    """The tags of a TIFF whose kind of samples Pillow does not know."""
    file.seek(0)
    head = file.read(8)
    if head[:4] not in TIFF_HEADS or len(head) < 8:
        return None
    try:
        tags = ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
        return tags if {256, 257} <= set(tags) else None
    except (OSError, ValueError, SyntaxError, TypeError, KeyError):
        return None


def _describe_tags(tags: ImageFileDirectory_v2) -> Header:
    turn = tags.get(ORIENTATION, 1)
    size = (tags[256], tags[257]) if turn in range(5, 9) else (tags[257], tags[256])
    return Header("TIFF", "", size, turn, *_depth(tags))


def _depth(tags: ImageFileDirectory_v2) -> tuple[int, str]:
    """Bits a sample (at least 8) and their kind."""
    bits, kinds = tags.get(BITS, 1), tags.get(KIND, 1)
    return max(8, *(bits if isinstance(bits, tuple) else (bits,))), KINDS.get(
        kinds[0] if isinstance(kinds, tuple) else kinds, "numbers of an unknown kind"
    )


def guess_format(head: bytes) -> str:
    """What a file that is no picture seems to be, by its first bytes."""
    for offset, magic, name in STRANGERS:
        if head[offset:].startswith(magic):
            return name
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, probably the answer to a failed download"
    if not head.strip(b"\0"):
        return "zeros only, probably a download that was cut off"
    return f"no known image format, it begins with {head[:8].hex(' ')}"


def read_content(content: bytes) -> Header:
    """The header of a file that was read already; see `parse_header`."""
    return parse_header(io.BytesIO(content))
