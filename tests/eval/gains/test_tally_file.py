from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from eval.gains.tally_file import ARRAYS, read_noted, read_tallies, write_tallies
from eval.metrics.pixels import pixel_metrics
from tests.eval.gains.test_tally import tally_of
from tests.eval.metrics.test_pixels import make_images


def test_tallies_come_back_as_written(tmp_path: Path) -> None:
    images = make_images()
    tallies = {
        "screw head": tally_of(images, pixel_metrics(images, cuts=30).cuts),
        "nut": tally_of(images[:2], np.empty(0)),
    }
    path = tmp_path / "tallies.safetensors"
    write_tallies(path, tallies, {"nut": "made of this"})
    found = read_noted(path)
    assert {name: note for name, (_, note) in found.items()} == {"nut": "made of this", "screw head": ""}
    for name, (tally, _) in found.items():
        assert tally.ids == tallies[name].ids
        for array in ARRAYS:
            assert np.array_equal(getattr(tally, array), getattr(tallies[name], array))
    assert path.stat().st_size < 12 * 31 * len(images) + 4000  # bounded by bins and images, whatever the pixels
    before = path.read_bytes()
    write_tallies(path, dict(reversed(tallies.items())), {"nut": "made of this"})
    assert path.read_bytes() == before


def test_no_file_and_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "tallies.safetensors"
    assert read_tallies(path) == {}
    path.write_bytes(b"12345678910")
    with pytest.raises(UserError, match=rf"{path}.*evaluate again"):
        read_tallies(path)
