"""Where finished trainings are shipped to, and what no file of theirs says."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True, slots=True)
class ShipConfig:
    """How `part=ship` ships.

    Attributes:
        folder: Where to; empty takes `models/tiny/checkpoints` of this code.
        hours: How long each base was trained, `hours.eddm=6.5`: its card says so.
    """

    folder: str = ""
    hours: dict[str, float] = field(default_factory=dict)
