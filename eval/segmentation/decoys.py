"""Which images hold decoys: harmless marks that look like the defect, which only the text can tell from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError
from data.files import read_json
from data.masks import Box
from data.sample import Sample
from data.source import Source

FACTORY_FILE = "factory.json"


def decoy_boxes(sources: Sequence[Source], samples: Sequence[Sample]) -> dict[str, list[Box]]:
    """Boxes of the decoys of each sample that has any, by sample id.

    Only generated datasets list decoys, in a `factory.json` at their root; other sources have none.

    Raises:
        UserError: If a `factory.json` is not as written by the factory.
    """
    boxes: dict[Path, list[Box]] = {}
    for source in sources:
        path = Path(source.root) / FACTORY_FILE
        if path.is_file():
            boxes.update(_read(path))
    return {sample.id: boxes[sample.image] for sample in samples if boxes.get(sample.image)}


def _read(path: Path) -> dict[Path, list[Box]]:
    listed = read_json(path)
    entries = listed["images"] if isinstance(listed, dict) and "images" in listed else listed
    try:
        return {path.parent / entry["image"]: [Box(*box) for box in entry["decoys"]] for entry in entries}
    except (KeyError, TypeError) as error:
        raise UserError(f"Not a list of generated images: {path} ({error!r}). Generate the dataset again.") from error
