"""The CLIP experts at the published size: ViT-B-16-plus-240 at 240 pixels, random weights."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from data.sample import ImageArray
from models.experts.clip.anoclip import AnoClip, AnoClipConfig
from models.experts.clip.backbone import Clip, ClipConfig
from models.experts.clip.clip_surgery import ClipSurgery
from models.experts.clip.expert import ClipExpert
from models.experts.clip.winclip import WinClip, WinClipConfig
from models.experts.clip.words import Texts
from tests.models.experts.clip.conftest import write_weights  # type: ignore[import-not-found]

pytestmark = pytest.mark.slow
SPOT = np.s_[60:140, 100:190]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clip]:
    """Of 833 MB, which are removed at the end."""
    path = write_weights("ViT-B-16-plus-240", tmp_path_factory.mktemp("clip") / "clip.safetensors")
    yield Clip(ClipConfig(checkpoint=str(path), device="cpu"))
    path.unlink()


@pytest.fixture(scope="module")
def images() -> list[ImageArray]:
    """A plain surface, and the same with a dark spot."""
    sound = np.random.default_rng(0).integers(120, 200, (240, 300, 3), np.uint8)
    spoiled = sound.copy()
    spoiled[SPOT] = (20, 40, 10)
    return [sound, spoiled]


def look(expert: ClipExpert, images: list[ImageArray]) -> list[np.ndarray]:
    """Maps of the two images, after a look at what every map must be."""
    (sound, one), (spoiled, other) = expert.score("metal_nut", images)
    for anomaly_map, score in ((sound, one), (spoiled, other)):
        assert anomaly_map.shape == (240, 300) and anomaly_map.dtype == np.float32
        assert np.isfinite(anomaly_map).all() and np.isfinite(score)
    assert not np.array_equal(sound, spoiled) and sound.std() > 0 and one != other
    return [sound, spoiled]


def few(texts: Texts) -> Texts:
    """Some of the texts, where their number takes time and proves nothing more."""
    return Texts(texts.normal[::60], texts.abnormal[::60])


def test_the_model_is_the_published_one(clip: Clip) -> None:
    assert (clip.side, clip.grid, len(clip.blocks)) == (240, (15, 15), 12)
    assert clip.tokens(torch.zeros(1, 3, 240, 240)).shape == (1, 226, 896)


def test_ensembles(clip: Clip) -> None:
    winclip, anoclip = WinClip(clip, WinClipConfig()).texts("metal_nut"), AnoClip(clip, AnoClipConfig()).texts("tile")
    assert (len(set(winclip.normal)), len(set(winclip.abnormal))) == (154, 88)
    assert len({*anoclip.normal, *anoclip.abnormal}) == 924
    assert [len(set(state)) for state in (anoclip.normal, anoclip.abnormal)] == [462, 462]


def test_winclip(clip: Clip, images: list[ImageArray]) -> None:
    expert = WinClip(clip, WinClipConfig())
    _, before = look(expert, images)
    expert.remember("metal_nut", images[:1])
    memory = {scale: tuple(value.shape) for scale, value in expert.memories["metal_nut"].items()}
    assert memory == {"patch": (225, 896), "2": (196, 640), "3": (169, 640)}
    ((after, _),) = expert.score("metal_nut", images[1:])
    assert np.isfinite(after).all() and not np.allclose(before, after)
    gained = (
        after - before / 2
    )  # half the distance to the sound image: nothing far from the spot, which it has not seen
    assert gained[SPOT].mean() > 2 * gained[200:].mean()


def test_anoclip(clip: Clip, images: list[ImageArray], monkeypatch: pytest.MonkeyPatch) -> None:
    expert, views = AnoClip(clip, AnoClipConfig(views=False)), AnoClip(clip, AnoClipConfig())
    for each in (expert, views):
        monkeypatch.setattr(each, "texts", lambda category: few(AnoClip.texts(expert, category)))
    maps = look(expert, images)
    ((seen, score),) = views.score("metal_nut", images[1:])
    np.testing.assert_allclose(seen, maps[1], atol=1e-4)  # the views change the score alone
    assert 0 < score < 1 and score != expert.score("metal_nut", images[1:])[0][1]


def test_anoclip_adapts_to_each_image_by_924_prompts(clip: Clip, images: list[ImageArray]) -> None:
    expert = AnoClip(clip, AnoClipConfig(views=False, adapt=True))
    assert expert._all_prompts("metal_nut").shape == (924, 640)
    look(expert, images)


def test_clip_surgery(clip: Clip, images: list[ImageArray], monkeypatch: pytest.MonkeyPatch) -> None:
    expert = ClipSurgery(clip)
    texts = expert.texts("metal_nut")
    assert (len(texts.normal), len(texts.abnormal)) == (7 * 85, 4 * 85)
    monkeypatch.setattr(expert, "texts", lambda category: few(texts))
    look(expert, images)
