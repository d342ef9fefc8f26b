"""The one function that reads an image's size without decoding it."""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from data.pixels.decode import UnreadableError, check_photo, decode_image
from data.pixels.header import Header, parse_header

ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
TAIL = 4096


def read_size(path: Path) -> tuple[int, int]:
    """Reads (height, width) from the header, as `load_image` would return the image.

    A JPEG or PNG file must also have its end mark near its end, or else decode: what a phone or a tool writes behind
    the picture does no harm, a download cut short is found. Damage in the middle of a file is not seen: only decoding
    finds that.

    Raises:
        UserError: If the file is missing, is no image, is of an unsupported format, or ends too early.
    """
    header = read_header(path)
    check_photo(header, path)
    end = ENDS.get(header.format)
    if end and end not in _tail(path):
        decode_image(path)
    return header.size


def read_header(path: Path) -> Header:
    """The header of an image; see `Header`.

    Raises:
        UserError: If the file is missing or is no image.
    """
    try:
        with path.open("rb") as file:
            return parse_header(file)
    except ValueError as error:
        raise UnreadableError(path, "image", "it has zero bytes" if not path.stat().st_size else str(error)) from error
    except OSError as error:
        if not path.is_file():
            message = f"Missing image: {path}. Check the dataset folder, or run the download again."
            raise UserError(message) from error
        message = f"Unreadable image: {path}: {error.strerror}. Check the permissions and the disk."
        raise UserError(message) from error


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        return file.read()
