import builtins

import numpy as np
import pytest

from data.errors import UserError
from data.factory.canvas import make_frame
from data.tiny import wild


def test_a_photographed_texture_is_another_at_every_draw_and_the_same_at_the_same() -> None:
    def draw(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return wild.photographed(rng, make_frame(rng, 48), np.array([120, 130, 140], np.float32))

    first = draw(0)
    assert first.shape == (48, 48, 3) and first.dtype == np.float32 and first.std() > 1
    np.testing.assert_array_equal(draw(0), first)
    assert np.abs(draw(1) - first).mean() > 1


def test_light_and_camera_change_looks_but_no_place() -> None:
    """An edge stays where it was, whatever the light and the camera."""
    board = np.full((64, 64, 3), 60, np.float32)
    board[:, 32:] = 190
    for seed in range(20):
        rng = np.random.default_rng(seed)
        lit, is_grey = wild.relight(rng, board)
        taken = wild.photograph(rng, lit)
        assert taken.shape == board.shape and taken.dtype == np.uint8
        assert not is_grey or np.ptp(lit, axis=2).max() < 1e-3
        columns = taken.astype(float).mean(axis=(0, 2))
        assert 30 <= int(np.abs(np.diff(columns)).argmax()) <= 32


def test_without_the_textures_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object, **named: object) -> object:
        if name == "skimage":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **named)  # type: ignore[arg-type]

    wild._photograph.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="pip install scikit-image"):
        wild.photographed(rng, make_frame(rng, 16), np.zeros(3, np.float32))
