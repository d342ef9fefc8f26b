"""What SAA+ is told about a class: numbers (`properties.yaml`, published) and words (`words.yaml`, ours)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data.errors import UserError

PROPERTIES, WORDS = (Path(__file__).with_name(name) for name in ("properties.yaml", "words.yaml"))
GENERAL = ("defect on {}", "damage on {}", "flaw on {}")


@dataclass(kw_only=True, slots=True)
class ClassProperties:
    """What is told about one class.

    Attributes:
        objects: Instances in an image (n).
        boxes: Boxes that are kept (K).
        area: Share of the largest object's box that a defect's box is smaller than (θ), above 0 and at most 1.
        name: What an object is called in the prompts; empty takes the class's name, `_` read as a space.
        phrases: What is looked for beside defects, damages and flaws.
    """

    objects: int
    boxes: int
    area: float
    name: str = ""
    phrases: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: If a value is out of range.
        """
        if self.objects < 1 or self.boxes < 1 or not 0 < self.area <= 1:
            raise UserError(
                f"SAA+ needs objects ≥ 1, boxes ≥ 1 and 0 < area ≤ 1, not {self.objects}, {self.boxes}, {self.area}."
            )

    def prompts(self) -> list[str]:
        """What is looked for on the object, one prompt each."""
        return [pattern.format(self.name) for pattern in GENERAL] + list(self.phrases)


def find_properties(
    category: str, own: Mapping[str, ClassProperties], default: ClassProperties | None
) -> ClassProperties:
    """The properties of a class: the user's, else the shipped ones, else the user's for all others.

    Raises:
        UserError: If there are none; nothing is guessed.
    """
    shipped = _shipped()
    if category in own:
        found = own[category]
    elif category in shipped:
        found = shipped[category]
    elif default is not None:
        found = default
    else:
        raise UserError(
            f"SAA+ is told nothing about '{category}' in {PROPERTIES.name}. Say it: "
            f"'+saa.classes.{category}={{objects: 1, boxes: 5, area: 0.9, phrases: [dark crack]}}', or for all classes "
            "that are missing there: 'saa.default={objects: 1, boxes: 5, area: 0.9}'."
        )
    return ClassProperties(
        objects=found.objects,
        boxes=found.boxes,
        area=found.area,
        name=found.name or category.replace("_", " "),
        phrases=list(found.phrases),
    )


@cache
def _shipped() -> dict[str, ClassProperties]:
    words: dict[str, Any] = _read(WORDS)
    return {category: ClassProperties(**numbers, **words[category]) for category, numbers in _read(PROPERTIES).items()}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found
