"""Going on costs what is left, not everything again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.masks import MaskFile
from data.ranks import Ranks
from data.sample import Sample
from eval.gains.tally import Tally
from eval.gains.tally_file import read_tallies
from eval.metrics.pixels import Engine
from eval.metrics.scores import ScoredImage
from eval.segmentation import category_scores
from eval.segmentation.category_scores import LazyImages, ScoreSettings, score_categories

COUNT = 7


class PowerCut(BaseException):
    """Stands for a killed process."""


def make(categories: tuple[str, ...] = ("nut",)) -> tuple[list[Sample], dict[str, ScoredImage]]:
    rng = np.random.default_rng(0)
    samples, images = [], {}
    for category in categories:
        for number in range(COUNT):
            name = f"x/{category}/{number}"
            sample = Sample(
                id=name,
                dataset="x",
                category=category,
                split="test",
                image=Path(f"{name}.png"),
                defect="dent" if number % 2 else None,
                mask=MaskFile(Path(f"{name}_mask.png")) if number % 2 else None,
            )
            mask = np.zeros((12, 16), bool)
            mask[2:5, 3 : 5 + number] = bool(number % 2)
            samples.append(sample)
            images[name] = ScoredImage(name, (rng.random((12, 16)) + 0.5 * mask).astype(np.float32), mask)
    return samples, images


def counting(images: dict[str, ScoredImage], seen: list[str], die_at: int = 0) -> Callable[[Sample], ScoredImage]:
    def load(sample: Sample) -> ScoredImage:
        if die_at and len(seen) == die_at:
            raise PowerCut
        seen.append(sample.id)
        return images[sample.id]

    return load


def score(samples: list[Sample], load: Callable[[Sample], ScoredImage], state: Path | None, **keys: str):
    settings = ScoreSettings(engine=Engine.streaming, aupro_limit=0.3, state=state)
    scores = {sample.id: float(index) for index, sample in enumerate(samples)}
    return score_categories(
        samples, scores, {s.id: keys.get("key", "") + s.id for s in samples}, load, settings, Ranks()
    )


def test_streaming_goes_on_behind_the_last_saved_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(category_scores, "SAVE_EVERY", 2)
    samples, images = make()
    first: list[str] = []
    with pytest.raises(PowerCut):
        score(samples, counting(images, first, die_at=5), tmp_path)
    assert len(first) == 5
    second: list[str] = []
    resumed = score(samples, counting(images, second), tmp_path)
    assert second == [sample.id for sample in samples[4:]]  # four were saved
    third: list[str] = []
    assert score(samples, counting(images, third), tmp_path) == resumed
    assert third == []
    whole: list[str] = []
    assert score(samples, counting(images, whole), None) == resumed
    assert len(whole) == COUNT


def test_streaming_counts_each_category_on_its_own_and_again_where_a_key_changed(tmp_path: Path) -> None:
    samples, images = make(("nut", "bolt"))
    seen: list[str] = []
    score(samples, counting(images, seen), tmp_path)
    assert len(seen) == 2 * COUNT and len(list(tmp_path.glob("*.safetensors"))) == 2
    seen.clear()
    score(samples, counting(images, seen), tmp_path, key="other")
    assert len(seen) == 2 * COUNT


def test_images_are_decoded_once_as_long_as_there_is_room() -> None:
    samples, images = make()
    seen: list[str] = []
    lazy = LazyImages(samples, counting(images, seen), room=3 * 12 * 16)
    assert [image.name for image in lazy] == [image.name for image in lazy] == [sample.id for sample in samples]
    assert len(seen) == COUNT + (COUNT - 3)


def tally(tmp_path: Path, engine: Engine, load: Callable[[Sample], ScoredImage], key: str = "") -> dict[str, Tally]:
    samples, _ = make(("nut", "bolt"))
    path = tmp_path / f"{engine.value}.safetensors"
    state = tmp_path / "counts"
    settings = ScoreSettings(engine=engine, aupro_limit=0.3, state=state, tallies=path, bins=32)
    scores = {sample.id: float(index) for index, sample in enumerate(samples)}
    keys = {sample.id: key + sample.id for sample in samples} if engine is Engine.streaming else {}
    score_categories(samples, scores, keys, load, settings, Ranks())
    return read_tallies(path)


def test_both_engines_keep_what_each_image_adds(tmp_path: Path) -> None:
    samples, images = make(("nut", "bolt"))
    exact, streaming = (tally(tmp_path, engine, counting(images, [])) for engine in Engine)
    assert set(exact) == {"nut", "bolt"}
    for name, found in exact.items():
        assert found.ids == tuple(sample.id for sample in samples if sample.category == name)
        for index, one in enumerate(found.ids):
            assert found.pixels[index].sum() == images[one].mask.size
            assert found.defects[index].sum() == images[one].mask.sum()
        assert found.defective.tolist() == [bool(images[one].mask.any()) for one in found.ids]
        assert found.scores.tolist() == [float(index) for index, s in enumerate(samples) if s.category == name]
        assert found.pixels.shape[1] <= 32
        assert (streaming[name].pixels.sum(1) == found.pixels.sum(1)).all()
        assert (streaming[name].defects.sum(1) == found.defects.sum(1)).all()


def test_streaming_counts_single_images_once_and_again_where_a_key_changed(tmp_path: Path) -> None:
    _, images = make(("nut", "bolt"))
    seen: list[str] = []
    first = tally(tmp_path, Engine.streaming, counting(images, seen))
    assert len(seen) == 4 * COUNT  # each for the figures, and for its own counts
    seen.clear()
    again = tally(tmp_path, Engine.streaming, counting(images, seen))
    assert seen == [] and (again["nut"].pixels == first["nut"].pixels).all()
    tally(tmp_path, Engine.streaming, counting(images, seen), key="other")
    assert len(seen) == 4 * COUNT


def test_a_category_without_masks_keeps_its_image_scores_alone(tmp_path: Path) -> None:
    samples, images = make()
    bare = [replace(sample, mask=None) for sample in samples]
    path = tmp_path / "tallies.safetensors"
    settings = ScoreSettings(aupro_limit=0.3, tallies=path)
    score_categories(bare, {s.id: 0.5 for s in bare}, {}, counting(images, []), settings, Ranks())
    found = read_tallies(path)["nut"]
    assert found.pixels.shape == (COUNT, 0) and found.scores.tolist() == [0.5] * COUNT
