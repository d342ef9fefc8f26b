from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import UserError
from data.files import read_json, write_json
from data.tiny.drawn import DrawnScenes, write_drawn
from data.tiny.referring import ReferringConfig, ReferringScenes

CONFIG = ReferringConfig(scenes=3, prompts=2)


def test_a_few_bytes_hold_the_scenes(tmp_path: Path) -> None:
    path, scenes = tmp_path / "replay.json", ReferringScenes(CONFIG, size=48, seed=5)
    write_drawn(path, CONFIG, size=48, seed=5)
    drawn = DrawnScenes(path)
    assert len(drawn) == 3 and path.stat().st_size < 2000
    for epoch in (0, 4):
        for index in range(3):
            item, expected = drawn.get(epoch, index), scenes.get(0, index)
            assert (item.id, item.prompts) == (expected.id, expected.prompts)
            assert np.array_equal(item.image, expected.image) and np.array_equal(item.masks, expected.masks)


def test_the_fingerprint_follows_what_is_drawn(tmp_path: Path) -> None:
    def fingerprint(name: str, config: ReferringConfig = CONFIG, **other: int) -> str:
        write_drawn(tmp_path / name, config, **{"size": 48, "seed": 5, **other})
        return DrawnScenes(tmp_path / name).fingerprint()

    first = fingerprint("a.json")
    assert fingerprint("b.json") == first
    others = [fingerprint("c.json", seed=6), fingerprint("d.json", size=40)]
    others.append(fingerprint("e.json", ReferringConfig(scenes=2, prompts=2)))
    assert len({first, *others}) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "No replay items at"),
        ({"scenes": {}}, "describes no scenes"),
        ({"seed": "x"}, "describes no scenes"),
        ({"scenes": {"scenes": 0, "augment": {}}}, "asks for no scene"),
    ],
)
def test_bad_files_are_user_errors(tmp_path: Path, change: dict[str, Any] | None, message: str) -> None:
    path = tmp_path / "replay.json"
    if change is not None:
        write_drawn(path, CONFIG, size=48, seed=5)
        write_json(path, read_json(path) | change)
    with pytest.raises(UserError, match=message):
        DrawnScenes(path)
