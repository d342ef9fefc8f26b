from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.ddqa.compose import FIXED_PROMPT, FREE_PROMPT
from data.errors import UserError
from data.sample import Sample
from data.source import Source, load_samples
from data.training.grounding import (
    AugmentConfig,
    DescriptionMode,
    SampleGrounding,
    augment_image,
    build_prompt,
    fit_side,
    grounding_prompts,
)


def samples(write_mvtec: Any) -> list:
    return load_samples([Source(reader="mvtec_ad", root=str(write_mvtec()))]).samples


def test_prompts_hold_the_instruction_and_the_description(write_mvtec: Any) -> None:
    listed = samples(write_mvtec)
    known = {sample.id: f"text of {sample.id}" for sample in listed}
    prompts = grounding_prompts(listed, DescriptionMode.eddm, known)
    assert prompts[0] == f"{FREE_PROMPT} text of {listed[0].id}"
    assert set(grounding_prompts(listed, DescriptionMode.fixed)) == {FIXED_PROMPT}
    oracle = grounding_prompts(listed, DescriptionMode.oracle)
    for sample, prompt in zip(listed, oracle, strict=True):
        assert prompt.startswith(FREE_PROMPT)
        assert ("no visible defect" in prompt) == sample.is_normal
    assert build_prompt("Do it.") == "Do it."


def test_a_missing_or_blank_description_is_a_user_error(write_mvtec: Any) -> None:
    listed = samples(write_mvtec)
    known = {sample.id: "text" for sample in listed[1:]} | {listed[0].id: " "}
    with pytest.raises(UserError, match=f"1 of {len(listed)} samples, first {listed[0].id}"):
        grounding_prompts(listed, DescriptionMode.eddm, known)


def test_items_depend_on_seed_epoch_and_index_alone(write_mvtec: Any) -> None:
    listed = samples(write_mvtec)
    prompts = ["x"] * len(listed)
    one = SampleGrounding(listed, prompts, 0, AugmentConfig())
    two = SampleGrounding(listed, prompts, 0, AugmentConfig(), keep_decoded=True)
    two.get(4, 1)
    np.testing.assert_array_equal(one.get(2, 1).image, two.get(2, 1).image)
    assert not np.array_equal(one.get(2, 1).image, one.get(3, 1).image)
    other = SampleGrounding(listed, prompts, 1, AugmentConfig())
    assert not np.array_equal(one.get(2, 1).image, other.get(2, 1).image)


def test_augmentation_moves_nothing() -> None:
    image = np.full((40, 60, 3), 60, np.uint8)
    image[5:15, 40:55] = 200
    for seed in range(8):
        changed = augment_image(image, AugmentConfig(), np.random.default_rng(seed)).astype(int)
        assert changed.shape == image.shape
        inside, outside = changed[7:13, 43:52].mean(), np.delete(changed, slice(3, 17), 0).mean()
        assert inside - outside > 80


def test_decoding_keeps_the_mask(write_mvtec: Any, tmp_path: Path) -> None:
    listed = samples(write_mvtec)
    dataset = SampleGrounding(listed, ["x"] * len(listed), 0)
    for index, sample in enumerate(listed):
        assert dataset.get(0, index).masks[0].any() != sample.is_normal


def test_shrinking_keeps_the_aspect_and_every_defect() -> None:
    image = np.zeros((200, 400, 3), np.uint8)
    mask = np.zeros((200, 400), bool)
    mask[100, 200] = True
    small, kept = fit_side(image, mask, 100)
    assert small.shape == (50, 100, 3) and kept.shape == (50, 100)
    assert kept.sum() == 1 and kept[25, 50]
    mask[:, :200] = True
    assert 0.49 < fit_side(image, mask, 100)[1].mean() < 0.52
    assert not fit_side(image, np.zeros_like(mask), 100)[1].any()
    assert fit_side(image, mask, 400)[0] is image
    large, grown = fit_side(image, mask, 800)
    assert large.shape == (400, 800, 3) and grown[:, :400].all() and not grown[:, 402:].any()


def test_augmentation_is_as_strong_whatever_camera_took_the_image(tmp_path: Path) -> None:
    noise = []
    for size in (32, 128, 1024):
        path = tmp_path / f"{size}.png"
        cv2.imwrite(str(path), np.full((size, size, 3), 128, np.uint8))
        sample = Sample(id=str(size), dataset="d", category="c", split="train", image=path)
        augment = AugmentConfig(brightness=0, contrast=0, tint=0, blur=0, noise=0.05)
        item = SampleGrounding([sample], ["x"], 0, augment, side=128).get(0, 0)
        noise.append(item.image.astype(float).std())
    assert noise[0] == noise[1] == noise[2] > 0
