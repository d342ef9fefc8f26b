"""Training end to end at toy size: files, resume, skipping, and messages for bad input."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from data.errors import UserError
from data.files import hash_file, read_json, read_jsonl, write_jsonl
from data.run import Run
from data.source import load_samples
from data.training.descriptions import DescribeMode, DescriptionLog, DescriptionRow, Manner, read_manner
from data.training.grounding import DescriptionMode
from models.mdlm.files import load_mdlm
from models.mdlm.sam import SamAttention
from train.engine.resume import Resume
from train.mdlm import loop as loop_module
from train.mdlm.config import TrainMDLMConfig
from train.mdlm.mix import drawn_ids, mix_dataset
from train.mdlm.train import train_mdlm

MakeConfig = Callable[..., TrainMDLMConfig]


class Killed(BaseException):
    """Stands for Ctrl-C or a power cut."""


def weights(run: Path) -> dict[str, torch.Tensor]:
    folder = run / "mdlm" / "fixed"
    return load_file(folder / "heads.safetensors") | load_file(folder / "adapter" / "adapter_model.safetensors")


def kill_after(monkeypatch: pytest.MonkeyPatch, checkpoints: int) -> None:
    """Dies right after that many checkpoints were written."""
    original, count = loop_module.save_checkpoint, [0]

    def save(*args: Any, **more: Any) -> None:
        original(*args, **more)
        count[0] += 1
        if count[0] == checkpoints:
            raise Killed

    monkeypatch.setattr(loop_module, "save_checkpoint", save)


def test_trains_writes_its_files_and_is_skipped_the_second_time(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config()
    with caplog.at_level(logging.INFO):
        train_mdlm(config)
    run = Run(Path(config.run_dir))
    rows = read_jsonl(run.mdlm / "fixed" / "log.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 7))
    assert {"loss", "bce", "dice", "lr"} <= rows[0].keys()
    assert not (run.mdlm / "fixed" / "checkpoints").exists()
    assert read_json(run.mdlm / "fixed" / "config.json")["loop"]["steps"] == 6
    (prediction,) = load_mdlm(run, "fixed").predict([np.zeros((40, 50, 3), np.uint8)], ["anything"])
    assert prediction.anomaly_map.shape == (40, 50)
    before = weights(run.path)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        train_mdlm(config)
    assert "already trained" in caplog.text and "step" not in caplog.text
    config.loop.steps = 4
    with pytest.raises(UserError, match=r"loop\.steps is 4 instead of 6.*resume=never"):
        train_mdlm(config)
    assert all(torch.equal(before[name], value) for name, value in weights(run.path).items())
    train_mdlm(replace(config, resume=Resume.never))
    assert any(not torch.equal(before[name], value) for name, value in weights(run.path).items())


@pytest.mark.parametrize("checkpoints", [1, 2])
def test_a_killed_run_ends_bit_for_bit_like_an_uninterrupted_one(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, checkpoints: int
) -> None:
    train_mdlm(make_config("whole"))
    killed = make_config("killed")
    with monkeypatch.context() as patch:
        kill_after(patch, checkpoints)
        with pytest.raises(Killed):
            train_mdlm(killed)
    torch.manual_seed(99)  # a new process has another random state
    train_mdlm(killed)
    whole, resumed = (weights(Path(config.run_dir)) for config in (make_config("whole"), killed))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    log = Path(killed.run_dir) / "mdlm" / "fixed" / "log.jsonl"
    assert [row["step"] for row in read_jsonl(log)] == list(range(1, 7))


def test_other_base_weights_are_another_training(make_config: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    config = make_config()
    train_mdlm(config)
    heads = Path(config.run_dir) / "mdlm" / "base" / "heads.safetensors"
    save_file({name: value + 1 for name, value in load_file(heads).items()}, heads)
    with pytest.raises(UserError, match=r"mdlm\.heads is \w+ instead of"):
        train_mdlm(config)


def test_moved_images_are_the_same_and_other_pixels_another_training(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config()
    train_mdlm(config)
    root = Path(config.data.train[0].root)
    moved = root.rename(root.with_name("moved"))
    config.data.train[0].root = str(moved)
    with caplog.at_level(logging.INFO):
        train_mdlm(config)
    assert "already trained" in caplog.text
    mask = next(moved.rglob("*_mask.png"))
    pixels = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(mask), np.roll(pixels, 3, axis=1))
    with pytest.raises(UserError, match="1 images are changed"):
        train_mdlm(config)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        train_mdlm(replace(config, resume=Resume.never))
    assert "already trained" not in caplog.text and "6 training images" in caplog.text


def test_images_that_are_never_drawn_are_not_read(make_config: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    config = make_config()
    config.loop.steps = 1
    samples = load_samples(config.data.train).samples
    drawn = drawn_ids(config, samples)
    seen, unseen = (next(s for s in samples if (s.id in drawn) is wanted) for wanted in (True, False))
    train_mdlm(config)
    unseen.image.write_bytes(b"no image at all")
    with caplog.at_level(logging.INFO):
        train_mdlm(config)
    assert "already trained" in caplog.text
    cv2.imwrite(str(seen.image), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(UserError, match="1 images are changed"):
        train_mdlm(config)
    unseen.image.unlink()
    with pytest.raises(UserError, match=r"images to draw from is 5, \w+ instead of 6, "):
        train_mdlm(config)


@pytest.mark.slow
def test_memory_and_kernel_settings_go_on_with_the_same_training(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config()
    with monkeypatch.context() as patch:
        kill_after(patch, 1)
        with pytest.raises(Killed):
            train_mdlm(config)
    config.mdlm.gradient_checkpointing = True
    config.mdlm.sam.attention = SamAttention.eager
    config.loop.workers, config.loop.checkpoint_every, config.keep_decoded = 1, 3, True
    with caplog.at_level(logging.INFO):
        train_mdlm(config)
    assert "resuming after step 2" in caplog.text


def test_a_checkpoint_of_other_settings_stays_and_is_not_continued(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("run")
    with monkeypatch.context() as patch:
        kill_after(patch, 1)
        with pytest.raises(Killed):
            train_mdlm(config)
    config.loop.optim = replace(config.loop.optim, lr=1e-3)
    with pytest.raises(UserError, match=r"loop\.optim\.lr is 0\.001 instead of 0\.002"):
        train_mdlm(config)
    assert (Path(config.run_dir) / "mdlm" / "fixed" / "checkpoints" / "step-000002" / "manifest.json").is_file()
    train_mdlm(replace(config, resume=Resume.never))
    fresh = make_config("fresh")
    fresh.loop.optim = replace(fresh.loop.optim, lr=1e-3)
    train_mdlm(fresh)
    one, other = weights(Path(config.run_dir)), weights(Path(fresh.run_dir))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_bad_input_gets_one_clear_message(make_config: MakeConfig) -> None:
    config = make_config()
    adapter = replace(config, description=DescriptionMode.eddm)
    with pytest.raises(UserError, match="No descriptions at"):
        train_mdlm(adapter)
    write_jsonl(
        Run(Path(config.run_dir)).descriptions / "train.jsonl", [{"id": "other", "key": "k", "description": "x"}]
    )
    with pytest.raises(UserError, match="No description for"):
        train_mdlm(adapter)
    both = replace(config, data=replace(config.data, zero_shot=config.data.train))
    with pytest.raises(UserError, match="washer"):
        train_mdlm(both)
    for items, message in ((None, "names no file"), ("none.jsonl", "No replay items at none.jsonl")):
        with pytest.raises(UserError, match=message):
            train_mdlm(replace(config, mix=replace(config.mix, items=items)))
    lost = replace(config, run_dir=config.run_dir + "-2")
    lost.mdlm = replace(config.mdlm, heads=str(Path(config.run_dir) / "none.safetensors"))
    with pytest.raises(UserError, match=r"\[SEG\] projection"):
        train_mdlm(lost)


def test_descriptions_of_what_is_drawn_are_enough_and_their_manner_is_kept(make_config: MakeConfig) -> None:
    config = replace(make_config(), description=DescriptionMode.eddm, mode=DescribeMode.free, length=256)
    config.loop.steps = 1
    run, samples = Run(Path(config.run_dir)), load_samples(config.data.train).samples
    drawn = drawn_ids(config, samples)
    assert 0 < len(drawn) < len(samples)
    manner = Manner(DescribeMode.free, 256)
    rows = [
        DescriptionRow(
            **{"key": "k", "id": s.id, "image": str(s.image), "image_hash": hash_file(s.image), **manner.facts()},
            description=f"About {s.id}.",
        )
        for s in samples
        if s.id in drawn
    ]
    log = DescriptionLog(run.descriptions / "train.jsonl")
    log.append(rows[1:])
    with pytest.raises(UserError, match=f"No description for 1 of {len(drawn)} samples, first {rows[0].id}"):
        train_mdlm(config)
    log.append(rows[:1])
    with pytest.raises(UserError, match="written with mode 'free', wanted is 'structured'"):
        train_mdlm(replace(config, mode=DescribeMode.structured))
    train_mdlm(config)
    assert read_manner(run.mdlm / "eddm") == manner


def test_a_loss_that_is_not_finite_stops_and_names_the_images(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config()
    config.loss.bce_weight = float("nan")
    with pytest.raises(UserError, match=r"loss is nan at step 1, on .*mvtec_ad/washer"):
        train_mdlm(config)


def test_a_batch_mixes_normal_anomalous_and_generic_images(make_config: MakeConfig) -> None:
    config = make_config()
    samples = load_samples(config.data.train).samples
    parts = mix_dataset(config, samples, ["x"] * len(samples)).parts
    assert [part.per_batch for part in parts] == [2, 1, 1]
    assert all(parts[0].dataset.get(0, k).masks[0].any() for k in range(len(parts[0].dataset)))
    assert not any(parts[1].dataset.get(0, k).masks[0].any() for k in range(len(parts[1].dataset)))
    config.mix.normal_share = 0.0
    assert [part.per_batch for part in mix_dataset(config, samples, ["x"] * len(samples)).parts] == [3, 1]
    with pytest.raises(UserError, match="shows no defect"):
        mix_dataset(config, [sample for sample in samples if sample.is_normal], ["x"] * len(samples))
    config.mix.normal_share = None
    parts = mix_dataset(config, samples, ["x"] * len(samples)).parts
    assert (parts[0].per_batch, len(parts[0].dataset)) == (3, len(samples))
    config.mix.replay = 4
    with pytest.raises(UserError, match="replay=4"):
        mix_dataset(config, samples, ["x"] * len(samples))


def test_weights_decide_the_shares_of_the_sources(make_config: MakeConfig) -> None:
    config = make_config()
    samples = load_samples(config.data.train).samples
    samples += [replace(sample, id=f"other/{sample.id}", dataset="other") for sample in samples]
    config.data.weights = {"mvtec_ad": 3.0, "other": 1.0}
    parts = mix_dataset(config, samples, ["x"] * len(samples)).parts
    anomalous = parts[0].dataset
    ids = [anomalous.get(epoch, index).id for epoch in range(5) for index in range(len(anomalous))]
    assert (len(ids), sum(name.startswith("other/") for name in ids)) == (20, 5)


def test_training_refuses_what_an_evaluation_calls_unseen(make_config: MakeConfig) -> None:
    config = make_config()
    config.data.unseen = ["ds_mvtec"]
    with pytest.raises(UserError, match="shares products or images with 'ds_mvtec'"):
        train_mdlm(config)
    config.data.unseen, config.data.weights = [], {"bsdata": 1.0}
    with pytest.raises(UserError, match="No sampling weight for"):
        train_mdlm(config)
