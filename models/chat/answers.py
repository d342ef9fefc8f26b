"""Strict reading of a model's replies: a letter or a box, or None. Nothing is guessed; callers count None."""

from __future__ import annotations

import re

BoxFraction = tuple[float, float, float, float]  # xyxy in 0..1 of width and height

_END_OF_THOUGHTS = "</think>"
_CONTROL = re.compile(  # colours and the like; titles and links; what is left
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\].*?(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]",
    re.DOTALL,
)
_LETTER = re.compile(r"\(?([A-Z])\)?(?:[.:)](?:\s.*)?)?", re.DOTALL)
_NUMBER = r"\s*(\d+(?:\.\d+)?|\.\d+)\s*"
_BOX = re.compile(r"\[" + ",".join([_NUMBER] * 4) + r"\]")


def strip_thinking(reply: str) -> str:
    """What a reply says after its thoughts: all behind the last `</think>`.

    Chat formats may put the opening tag into the prompt, so it need not be there.
    """
    return reply.rpartition(_END_OF_THOUGHTS)[2].strip()


def plain_text(reply: str) -> str:
    """A reply without the control characters that could redraw or hide what stands on a terminal, and their codes."""
    return _CONTROL.sub("", reply).strip()


def parse_letter(reply: str, count: int) -> int | None:
    """Index of the chosen option.

    Accepts `B`, `(B)`, `B.` and `B. top left`, and nothing else: a letter somewhere in a sentence is no choice.

    Args:
        reply: What the model said.
        count: Number of options.
    """
    found = _LETTER.fullmatch(strip_thinking(reply))
    if found is None:
        return None
    index = ord(found.group(1)) - ord("A")
    return index if index < count else None


def parse_box(reply: str) -> BoxFraction | None:
    """The only box in a reply, `[x0, y0, x1, y1]` in 0..1 with x0 < x1 and y0 < y1."""
    found = _BOX.findall(strip_thinking(reply))
    if len(found) != 1:
        return None
    x0, y0, x1, y1 = (float(value) for value in found[0])
    return (x0, y0, x1, y1) if 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 else None


def box_iou(first: BoxFraction, second: BoxFraction) -> float:
    """Intersection over union of two boxes, 0..1."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0.0) * max(height, 0.0)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return shared / (area - shared)
