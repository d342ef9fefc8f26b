"""Replay items: images with sentences and the masks that they mean, on disk, mixed into a training on something else.

    replay/items.jsonl      {"id": …, "image": "0.png", "prompts": [text, …], "masks": ["0-0.png", …]} a line
    replay/*.png            paths are relative to the file; a mask is white where its sentence means a pixel

Any referring data can be written so, such as a public set that LISA mixes in. The scenes that the tiny base was trained
on are drawn anew instead (data/tiny/drawn.py).
"""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from data.files import hash_file, hash_value, read_jsonl
from data.masks import MaskFile, read_mask
from data.readers.annotations import find_inside
from data.sample import load_image
from data.training.grounding import GroundingItem

ITEMS = "items.jsonl"
KEYS = {"id", "image", "prompts", "masks"}


class ReplayItems:
    """The items of a file, the same in every epoch."""

    def __init__(self, path: Path) -> None:
        """Reads which items there are.

        Raises:
            UserError: If there is no such file, it is empty, or a line is no item.
        """
        if not path.is_file():
            raise UserError(f"No replay items at {path}. Set mix.items to their {ITEMS}, or mix.replay=0.")
        self._path, self._rows = path, read_jsonl(path)
        for number, row in enumerate(self._rows, 1):
            if not isinstance(row, dict) or row.keys() < KEYS or not 0 < len(row["prompts"]) == len(row["masks"]):
                raise UserError(f"No replay item: {path}, line {number}. Give {sorted(KEYS)}, one mask a prompt.")
        if not self._rows:
            raise UserError(f"No replay items in {path}. Set mix.items to another file, or mix.replay=0.")

    def __len__(self) -> int:
        """Number of items."""
        return len(self._rows)

    def get(self, epoch: int, index: int) -> GroundingItem:
        """Decodes one item."""
        row = self._rows[index]
        image = load_image(self._find(row["image"]))
        masks = [read_mask(MaskFile(self._find(name)), image.shape[:2]) for name in row["masks"]]
        return GroundingItem(row["id"], image, list(row["prompts"]), masks)

    def fingerprint(self) -> str:
        """Hash of the texts and of every image and mask."""
        names = sorted({name for row in self._rows for name in [row["image"], *row["masks"]]})
        return hash_value([self._rows, [hash_file(self._find(name)) for name in names]])

    def _find(self, name: str) -> Path:
        return find_inside(self._path.parent, name, self._path)
