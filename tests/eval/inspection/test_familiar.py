from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from data.files import write_json
from data.run import Run
from data.sample import load_image
from eval.inspection import familiar
from eval.inspection.familiar import FILE, find_limit, load_familiar, read_training
from models.device import DeviceConfig

WHERE = DeviceConfig(device="cpu")


def around(angle: float, count: int, spread: float) -> np.ndarray:
    """Unit vectors in the plane near a direction."""
    angles = angle + spread * np.random.default_rng(int(100 * angle)).uniform(-1, 1, count)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def test_the_limit_is_how_far_products_are_from_each_other() -> None:
    vectors = np.concatenate([around(0, 50, 0.02), around(0.5, 50, 0.02)])
    products = ["a"] * 50 + ["b"] * 50
    assert 0.4 < find_limit(vectors, products) < 0.56  # not how alike the images of one product are
    assert find_limit(vectors[:50], products[:50]) < 0.05  # which is all there is with a single one
    assert find_limit(vectors[:1], products[:1]) == 2.0


def test_a_run_keeps_what_its_training_looks_like_and_learns_it_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    known = load_familiar(run.path, run.mdlm / "fixed", WHERE)
    assert known is not None and "Looking once" in caplog.text
    assert (run.path / FILE).is_file() and known.training.vectors.shape[0] == 6
    seen = load_image(run.data / "seen" / "gear" / "test" / "good" / "000.png")
    strange = np.zeros((64, 64, 3), np.uint8)
    strange[::8] = strange[:, ::8] = 255
    near, far = known.distances([known.ready(seen), known.ready(strange)])
    assert near < 0.1 and far > 1
    monkeypatch.setattr(familiar, "learn_training", lambda *_: pytest.fail("it was learnt again"))
    again = load_familiar(run.path, run.mdlm / "fixed", WHERE)
    assert again is not None and np.array_equal(again.training.vectors, known.training.vectors)


def test_other_training_images_are_learnt_anew(run: Run) -> None:
    known = load_familiar(run.path, run.mdlm / "fixed", WHERE)
    before = (run.path / FILE).read_bytes()
    path = run.data / "seen" / "gear" / "test" / "good" / "000.png"
    path.write_bytes((run.data / "unseen" / "tile" / "test" / "good" / "001.png").read_bytes())
    again = load_familiar(run.path, run.mdlm / "fixed", WHERE)
    assert (run.path / FILE).read_bytes() != before
    assert known is not None and again is not None and again.key != known.key  # rows are made anew


def test_what_was_kept_serves_where_the_training_images_are_gone(
    run: Run, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    known = load_familiar(run.path, run.mdlm / "fixed", WHERE)
    (run.data / "seen").rename(tmp_path / "elsewhere")
    again = load_familiar(run.path, run.mdlm / "fixed", WHERE)
    assert known is not None and again is not None and again.training.limit == known.training.limit
    (run.path / FILE).unlink()
    assert load_familiar(run.path, run.mdlm / "fixed", WHERE) is None
    assert "cannot be told" in caplog.text
    write_json(run.mdlm / "fixed" / "config.json", {})
    assert load_familiar(run.path, run.mdlm / "fixed", WHERE) is None


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"nonsense")
    assert read_training(tmp_path / FILE, "key") is None
