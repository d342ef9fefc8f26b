"""WinCLIP's windows and means, against a direct computation, one window at a time."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from data.errors import UserError
from data.sample import ImageArray
from models.experts.clip.backbone import Clip
from models.experts.clip.winclip import WinClip, WinClipConfig, window_patches


@pytest.fixture(scope="module")
def images() -> list[ImageArray]:
    """Three images of several sizes."""
    random = np.random.default_rng(1)
    return [random.integers(0, 256, (size, size + 9, 3), np.uint8) for size in (40, 96, 120)]


@pytest.fixture(scope="module")
def winclip(clip: Clip) -> WinClip:
    """Over the small CLIP."""
    return WinClip(clip, WinClipConfig())


def one_by_one(
    winclip: WinClip, image: ImageArray, memory: dict[str, torch.Tensor] | None = None
) -> tuple[np.ndarray, float]:
    """The definition, written down without batches."""
    clip, (rows, columns) = winclip.clip, winclip.clip.grid
    texts = winclip.texts("nut")
    normal, abnormal = (
        F.normalize(clip.encode_texts(state).mean(0), dim=0) for state in (texts.normal, texts.abnormal)
    )

    def probability(feature: torch.Tensor) -> float:
        feature = F.normalize(feature, dim=0)
        logits = torch.stack([feature @ normal, feature @ abnormal]) / 0.07
        return float(logits.softmax(0)[1])

    tokens = clip.tokens(clip.prepare([image]))[0]
    after = clip.normalise(clip.run(tokens[None]))[0]
    whole = probability(clip.project(after[0]))
    cover: dict[int, list[list[float]]] = {
        2: [[] for _ in range(rows * columns)],
        3: [[] for _ in range(rows * columns)],
    }
    far: dict[int, list[list[float]]] = {2: [[] for _ in range(rows * columns)], 3: [[] for _ in range(rows * columns)]}
    for side in (2, 3):
        for top in range(rows - side + 1):
            for left in range(columns - side + 1):
                inside = [(top + y) * columns + left + x for y in range(side) for x in range(side)]
                window = torch.stack([tokens[0], *(tokens[1 + index] for index in inside)])
                feature = clip.project(clip.normalise(clip.run(window[None]))[0, 0])
                for index in inside:
                    cover[side][index].append(probability(feature))
                    if memory is not None:
                        nearest = float((F.normalize(feature, dim=0) @ memory[str(side)].T).max())
                        far[side][index].append((1 - nearest) / 2)
    grid = np.empty(rows * columns)
    for index in range(rows * columns):
        means = [len(cover[side][index]) / sum(1 / value for value in cover[side][index]) for side in (2, 3)]
        grid[index] = 3 / (1 / whole + sum(1 / mean for mean in means))
    if memory is None:
        return grid.reshape(rows, columns), whole
    distances = np.empty(rows * columns)
    for index in range(rows * columns):
        patch = (1 - float((F.normalize(after[1 + index], dim=0) @ memory["patch"].T).max())) / 2
        wide = [len(far[side][index]) / sum(1 / value for value in far[side][index]) for side in (2, 3)]
        distances[index] = (patch + sum(wide)) / 3
    return ((grid + distances) / 2).reshape(rows, columns), (whole + distances.max()) / 2


def test_windows_hold_the_patches_of_every_square() -> None:
    assert window_patches((3, 4), 2).tolist()[:4] == [[0, 1, 4, 5], [1, 2, 5, 6], [2, 3, 6, 7], [4, 5, 8, 9]]
    assert len(window_patches((15, 15), 2)) == 196
    assert len(window_patches((15, 15), 3)) == 169


def test_zero_shot_is_its_definition(winclip: WinClip, images: list[ImageArray]) -> None:
    batch = winclip.clip.prepare(images)
    maps, scores = winclip.look("nut", batch)
    expected, whole = one_by_one(winclip, images[1])
    np.testing.assert_allclose(maps[1], expected, atol=1e-5)
    assert float(scores[1]) == pytest.approx(whole, abs=1e-5)


def test_with_shots_it_is_its_definition(clip: Clip, images: list[ImageArray]) -> None:
    winclip = WinClip(clip, WinClipConfig())
    winclip.remember("nut", images[:2])
    assert {scale: len(known) for scale, known in winclip.memories["nut"].items()} == {"patch": 72, "2": 50, "3": 32}
    maps, scores = winclip.look("nut", clip.prepare([images[2]]))
    expected, score = one_by_one(winclip, images[2], winclip.memories["nut"])
    np.testing.assert_allclose(maps[0], expected, atol=1e-5)
    assert float(scores[0]) == pytest.approx(score, abs=1e-5)


def test_maps_come_at_the_size_of_their_image(winclip: WinClip, images: list[ImageArray]) -> None:
    scored = winclip.score("nut", images)
    assert [anomaly_map.shape for anomaly_map, _ in scored] == [image.shape[:2] for image in images]
    assert all(np.isfinite(anomaly_map).all() for anomaly_map, _ in scored)
    assert len({score for _, score in scored}) == 3


def test_windows_wider_than_the_grid_and_shots_without_images_are_refused(clip: Clip, winclip: WinClip) -> None:
    with pytest.raises(UserError, match=r"winclip.windows=\[7\] must be from 2 to 6"):
        WinClip(clip, WinClipConfig(windows=[7]))
    with pytest.raises(UserError, match="No normal images of 'nut'"):
        winclip.remember("nut", [])
