"""What a training command does with the checkpoints that it finds."""

from __future__ import annotations

from enum import StrEnum


class Resume(StrEnum):
    """`auto` goes on from the newest intact checkpoint of the same settings and data; `never` starts again."""

    auto = "auto"
    never = "never"
