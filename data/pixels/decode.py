"""The one decoder of images: pixels as displayed, 8 bits, RGB, whatever the file holds."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from data.errors import UserError
from data.pixels.header import UNSUPPORTED, Header, opened, read_content

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it cannot read is read, or told, by us
MEMORY = Path("/proc/meminfo")
SMALL = 1 << 26  # pixels; below, nobody looks at the free memory
LONGEST, MOST = 1_000_000, 1 << 30  # OpenCV's limits on a side, of PNG files the least, and on the pixels
COPIES = 2  # of the pixels, that are in memory while an image is decoded


class UnreadableError(UserError):
    """A picture file that cannot be used.

    Attributes:
        why: What is the matter with it.
    """

    def __init__(self, path: Path, what: str, why: str) -> None:
        super().__init__(path, what, why)  # as they came: an error of a worker process is made anew from them
        self.why = why

    def __str__(self) -> str:
        path, what, why = self.args
        if self.is_unsupported:
            return f"{path} cannot be read as {what}: {why}."
        return f"Corrupt {what}: {path} does not decode: {why}. Replace the file, or download it again."

    @property
    def is_unsupported(self) -> bool:
        """Whether the file is whole, but of a kind that nobody here reads."""
        return self.why.startswith(UNSUPPORTED)


def decode_image(path: Path, content: bytes | None = None) -> NDArray[np.uint8]:
    """Decodes an image: (H, W, 3) uint8, RGB, turned as its orientation tag says; transparency is dropped.

    Of 16 bits the upper 8 are kept. Of several pages the first is decoded.

    Args:
        path: The file.
        content: Its bytes, where they are read already.

    Raises:
        UserError: If the file is missing, does not decode, is of an unsupported format, or needs more memory than
            there is.
    """
    content = content or read_file(path, "image")
    header = check_header(content, path, "image")
    check_photo(header, path)
    check_memory(header, path)
    try:
        flags = cv2.IMREAD_COLOR | (cv2.IMREAD_ANYDEPTH if header.bits > 8 else 0)
        pixels = decode_with_opencv(content, flags)
        if pixels is None:
            return _decode_with_pillow(content, path, header)
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]
    except MemoryError as error:
        raise too_large(header, path) from error


def read_file(path: Path, what: str) -> bytes:
    """The bytes of an image or a mask.

    Raises:
        UserError: If the file is missing, empty or unreadable.
    """
    if not path.is_file():
        raise UserError(f"Missing {what}: {path}. Check the dataset folder, or run the download again.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"Unreadable {what}: {path}: {error.strerror}. Check the permissions and the disk.") from error
    if not content:
        raise UnreadableError(path, what, "it has zero bytes")
    return content


def check_header(content: bytes, path: Path, what: str) -> Header:
    """The header of a file.

    Raises:
        UserError: If it is no picture.
    """
    try:
        return read_content(content)
    except ValueError as error:
        raise UnreadableError(path, what, str(error)) from error


def check_photo(header: Header, path: Path) -> None:
    """Refuses samples without one obvious brightness.

    Raises:
        UserError: Naming the format.
    """
    if not header.is_photo:
        raise UnreadableError(path, "image", f"{UNSUPPORTED}: {header}. Save it as PNG with 8 or 16 bits")


def check_memory(header: Header, path: Path) -> None:
    """Refuses a picture that does not fit into the free memory.

    Raises:
        UserError: Naming its size and the free memory.
    """
    height, width = header.size
    if height * width < SMALL or (free := free_memory()) is None:
        return
    if _need(header) > free:
        raise too_large(header, path)


def _need(header: Header) -> int:
    return header.size[0] * header.size[1] * 3 * (header.bits // 8) * COPIES


def too_large(header: Header, path: Path) -> UserError:
    """The error about a picture that does not fit into memory."""
    height, width = header.size
    free = free_memory()
    limit = "memory did not suffice" if free is None else f"{free / 1e9:.1f} GB are free"
    return UserError(
        f"Too large: {path} is {width}x{height}, {width * height / 1e6:.0f} megapixels; decoding takes about "
        f"{_need(header) / 1e9:.1f} GB, {limit}. Cut it into tiles, or use a machine with more memory."
    )


def free_memory() -> int | None:
    """Bytes that a program can still take; None where the system does not say."""
    try:
        for line in MEMORY.read_text().split("\n"):
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def decode_with_opencv(content: bytes, flags: int) -> NDArray | None:
    """What OpenCV makes of a file; None where it cannot read it, which its limits on sides and pixels also cause."""
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None


def _decode_with_pillow(content: bytes, path: Path, header: Header) -> NDArray[np.uint8]:
    check_rescue(header, path, "image")
    image = load_with_pillow(content, path, "image")
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))


def check_rescue(header: Header, path: Path, what: str) -> None:
    """Refuses what OpenCV could not decode although it knows the format: Pillow would fill up what is missing.

    Raises:
        UserError: If the file must be damaged.
    """
    height, width = header.size
    if header.format in ("PNG", "JPEG") and max(height, width) <= LONGEST and height * width <= MOST:
        raise UnreadableError(path, what, "it ends too early or is damaged")


def load_with_pillow(content: bytes, path: Path, what: str, page: int = 0) -> Image.Image:
    """What Pillow makes of a file, turned as displayed: for what OpenCV cannot read.

    Raises:
        UserError: If Pillow cannot decode it either.
    """
    try:
        with opened(io.BytesIO(content)) as image:
            image.seek(page)
            image.load()
            return image if image.format == "TIFF" else ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError) as error:
        raise UnreadableError(path, what, " ".join(str(error).split())[:200].rstrip(".") or "it is damaged") from error
