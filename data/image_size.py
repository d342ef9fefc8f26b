"""The size of an image without decoding it, and whether its file is whole."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from data.errors import UserError

ORIENTATION = 274  # EXIF; 5 to 8 turn the image by a quarter
ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
TAIL = 4096  # some cameras and tools pad a file after its end mark


def read_size(path: Path) -> tuple[int, int]:
    """Reads (height, width) from the header, as `load_image` would return the image.

    A JPEG or PNG file must also have its end mark, so that a download cut short is found. Damage in the middle of
    a file is not seen: only decoding finds that.

    Raises:
        UserError: If the file is missing, is no image, or ends too early.
    """
    if not path.is_file():
        raise UserError(f"Missing image: {path}. Check the dataset folder, or run the download again.")
    try:
        with Image.open(path) as image:
            width, height = image.size
            end = ENDS.get(image.format or "")
            # getexif decodes a PNG that holds none, hence the look at info
            turned = (image.format != "PNG" or "exif" in image.info) and image.getexif().get(ORIENTATION, 1) in range(
                5, 9
            )
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise UserError(f"Corrupt image: {path} does not decode. Replace the file, or download it again.") from error
    if end and end not in _tail(path):
        raise UserError(f"Corrupt image: {path} ends too early. Replace the file, or download it again.")
    return (width, height) if turned else (height, width)


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        return file.read()
