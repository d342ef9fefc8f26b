"""Training with cached embeddings: the second run reads them, and what would spoil them is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data.errors import UserError
from data.files import read_jsonl
from data.training.grounding import AugmentConfig
from models.mdlm.embedding_cache import CacheConfig
from models.mdlm.sam import Sam
from models.mdlm.sam_lora import SamLora
from train.mdlm.train import TrainMDLMConfig, train_mdlm

MakeConfig = Callable[..., TrainMDLMConfig]


def cached(config: TrainMDLMConfig, folder: Path) -> TrainMDLMConfig:
    config.augment, config.mix.replay = None, 0
    config.cache = CacheConfig(path=str(folder), gib=0.1)
    return config


def trained(config: TrainMDLMConfig) -> dict[str, torch.Tensor]:
    return load_file(Path(config.run_dir) / "mdlm" / "fixed" / "heads.safetensors")


def test_a_second_run_encodes_nothing_and_ends_the_same(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached(make_config("first"), tmp_path / "cache")
    train_mdlm(first)
    entries = list((tmp_path / "cache").rglob("*.npy"))
    assert entries
    second = cached(make_config("second"), tmp_path / "cache")

    def refuse(*_: object) -> None:
        raise AssertionError("every embedding is in the cache")

    monkeypatch.setattr(Sam, "encode", refuse)
    train_mdlm(second)
    one, other = trained(first), trained(second)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert sorted((tmp_path / "cache").rglob("*.npy")) == sorted(entries)


def test_the_loss_is_that_of_a_run_without_a_cache(make_config: MakeConfig, tmp_path: Path) -> None:
    plain = cached(make_config("plain"), tmp_path / "cache")
    plain.cache = None
    train_mdlm(plain)
    train_mdlm(cached(make_config("cached"), tmp_path / "cache"))
    rows = [read_jsonl(tmp_path / run / "mdlm" / "fixed" / "log.jsonl") for run in ("plain", "cached")]
    for one, other in zip(*rows, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=2e-3)


def test_what_changes_the_embeddings_is_refused(make_config: MakeConfig, tmp_path: Path) -> None:
    config = cached(make_config(), tmp_path / "cache")
    for spoiled, message in (
        (replace(config, augment=AugmentConfig()), "augment=null"),
        (replace(config, mix=replace(config.mix, replay=1)), "mix.replay=0"),
        (replace(config, mdlm=replace(config.mdlm, sam_lora=SamLora.encoder)), "mdlm.sam_lora=decoder"),
    ):
        with pytest.raises(UserError, match=message):
            train_mdlm(spoiled)
    assert not (tmp_path / "cache").exists()
