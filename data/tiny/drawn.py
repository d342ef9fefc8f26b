"""Referring scenes that a file describes by their seed, and that are drawn anew wherever they are wanted.

    replay.json     {"scenes": {…, as `ReferringConfig`}, "size": 128, "seed": 0}

A few milliseconds draw a scene, so nobody has to keep or carry their pictures.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.files import hash_value, read_json, write_json
from data.tiny.referring import ReferringConfig, ReferringScenes
from data.training.grounding import AugmentConfig, GroundingItem


class DrawnScenes:
    """The scenes of such a file as they are in the first epoch, the same in every one."""

    def __init__(self, path: Path) -> None:
        """Reads what to draw; draws nothing yet.

        Raises:
            UserError: If there is no such file, or it describes no scenes.
        """
        if not path.is_file():
            raise UserError(f"No replay items at {path}. Set mix.items to their file, or mix.replay=0.")
        try:
            told = read_json(path)
            values = {**told["scenes"], "augment": AugmentConfig(**told["scenes"]["augment"])}
            self._scenes = ReferringScenes(ReferringConfig(**values), size=int(told["size"]), seed=int(told["seed"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} describes no scenes ({error!r}). Make the base again, or set mix.replay=0."
            ) from error
        if not len(self._scenes):
            raise UserError(f"No replay items in {path}: it asks for no scene. Set mix.items to another file.")

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self._scenes)

    def get(self, epoch: int, index: int) -> GroundingItem:
        """Draws one scene with its sentences; the epoch changes nothing."""
        return self._scenes.get(0, index)

    def fingerprint(self) -> str:
        """Hash of the sentences, images and masks as this machine draws them."""
        return hash_value([_describe(self.get(0, index)) for index in range(len(self))])


def write_drawn(path: Path, config: ReferringConfig, *, size: int, seed: int) -> None:
    """Writes what `DrawnScenes` reads.

    Args:
        path: The file.
        config: How many scenes, and what is said about them.
        size: Side of a scene, in pixels.
        seed: Their seed.
    """
    write_json(path, {"scenes": asdict(config), "size": size, "seed": seed})


def _describe(item: GroundingItem) -> list[object]:
    pixels = [np.ascontiguousarray(array).tobytes().hex() for array in (item.image, *item.masks)]
    return [item.id, item.prompts, item.image.shape, [hash_value(one) for one in pixels]]
