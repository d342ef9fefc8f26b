"""Shared fixtures: small datasets generated on the fly, and the real ones where EIAD_TEST_DATA points to them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

WriteMVTec = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def own_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps what the tests remember of files out of the user's cache, in commands that they start, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EIAD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgets which plug-ins an earlier test was allowed, as a new process does."""
    monkeypatch.setattr("data.plugins.trust._allowed", set())


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder that holds `datasets/` and `velm/`; skips where it is not given."""
    folder = os.environ.get("EIAD_TEST_DATA")
    if not folder:
        pytest.skip("EIAD_TEST_DATA is not set: it names the folder that holds datasets/ and velm/")
    return Path(folder)


@pytest.fixture
def write_mvtec(tmp_path: Path) -> WriteMVTec:
    """Writes a tiny dataset in the MVTec AD layout and returns its root."""

    def write(
        name: str = "mvtec",
        categories: tuple[str, ...] = ("washer",),
        normals: int = 2,
        defects: int = 2,
        seed: int = 0,
    ) -> Path:
        rng = np.random.default_rng(seed)
        root = tmp_path / name
        for category in categories:
            for index in range(normals):
                _write(root / category / "train" / "good" / f"{index:03d}.png", _noise(rng))
                _write(root / category / "test" / "good" / f"{index:03d}.png", _noise(rng))
            for index in range(defects):
                image, mask = _noise(rng), np.zeros((48, 64), np.uint8)
                top, left = int(rng.integers(4, 36)), int(rng.integers(4, 50))
                image[top : top + 8, left : left + 8] = 255
                mask[top : top + 8, left : left + 8] = 255
                _write(root / category / "test" / "scratch" / f"{index:03d}.png", image)
                _write(root / category / "ground_truth" / "scratch" / f"{index:03d}_mask.png", mask)
        return root

    return write


def _noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(60, 120, (48, 64, 3), dtype=np.uint8)


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
