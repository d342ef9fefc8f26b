"""Checks DDQA rows before ms-swift sees them, because it drops or replaces bad ones silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.ddqa.rows import read_rows
from data.errors import UserError
from data.image_size import read_size

IMAGE_TAG = "<image>"
BOX_TAGS = {"<bbox>": "bbox", "<ref-object>": "ref"}  # filled in from what the row lists under 'objects'
OTHER_TAGS = ("<video>", "<audio>", "<cot-process>")  # ms-swift would fill these in, too
ROLES = ["user", "assistant"]


def check_ddqa(path: Path) -> list[dict[str, Any]]:
    """Reads a DDQA file and checks every row.

    Raises:
        UserError: If the file is missing or empty, or a row has no question and answer, has keys or tags that ms-swift
            gives a meaning of its own, misses an image, names one that is none, or has another number of tags than
            images or boxes.
    """
    rows = read_rows(path)
    if not rows:
        raise UserError(f"No questions in {path}. Build them first: python -m scripts.build_ddqa")
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        where = f"{path}, line {number}"
        if not isinstance(row, dict):
            raise UserError(f"Not an object: {where}. Give one JSON object a line.")
        texts = _check_messages(row.get("messages"), where)
        images = row.get("images")
        if not isinstance(images, list) or not images or not all(isinstance(image, str) for image in images):
            raise UserError(f"No image: {where}. List its path under 'images'.")
        tags = sum(text.count(IMAGE_TAG) for text in texts)
        if tags != len(images):
            raise UserError(f"{tags} {IMAGE_TAG} tags but {len(images)} images: {where}. Give one tag an image.")
        _check_boxes(row.get("objects"), texts, where)
        if IMAGE_TAG in texts[1]:
            raise UserError(f"{IMAGE_TAG} in the answer: {where}. Images belong to the question.")
        for image in set(images) - seen:
            _check_image(Path(image), where)
            seen.add(image)
    return rows


def _check_messages(messages: Any, where: str) -> list[str]:
    """Question and answer."""
    is_list = isinstance(messages, list) and all(isinstance(message, dict) for message in messages)
    if not is_list or [message.get("role") for message in messages] != ROLES:
        raise UserError(f"Not a question with its answer: {where}. Give one user and one assistant message.")
    if unknown := sorted({key for message in messages for key in message} - {"role", "content"}):
        raise UserError(f"Unknown key {unknown[0]!r} in a message: {where}. Give 'role' and 'content' only.")
    texts = [message.get("content") for message in messages]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise UserError(f"Empty message: {where}. Give the question and the answer as text.")
    if found := [tag for tag in OTHER_TAGS if any(tag in text for text in texts)]:
        raise UserError(f"{found[0]} in a message: {where}. ms-swift would replace it; write it otherwise.")
    return texts


def to_swift_row(row: dict[str, Any]) -> dict[str, Any]:
    """What ms-swift reads of a DDQA row."""
    return {key: row[key] for key in ("messages", "images", "objects") if row.get(key)}


def _check_boxes(objects: Any, texts: list[str], where: str) -> None:
    if objects is not None and not isinstance(objects, dict):
        raise UserError(f"Bad 'objects': {where}. Give an object with 'ref' and 'bbox'.")
    for tag, key in BOX_TAGS.items():
        tags, values = sum(text.count(tag) for text in texts), (objects or {}).get(key) or []
        if not isinstance(values, list) or tags != len(values):
            raise UserError(f"{tags} {tag} tags but other than {tags} values under 'objects': {where}. Give one a tag.")
    for box in (objects or {}).get("bbox") or []:
        if not isinstance(box, list) or len(box) != 4 or not box[0] < box[2] or not box[1] < box[3]:
            raise UserError(f"Not a box: {box} ({where}). Give [x0, y0, x1, y1] in pixels.")


def _check_image(path: Path, where: str) -> None:
    try:
        read_size(path)
    except UserError as error:
        raise UserError(f"{error} ({where})") from error
