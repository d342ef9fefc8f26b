"""A tiny training configuration on generated images, with base checkpoints of random weights."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data.source import DataConfig, Source
from data.tiny.referring import ReferringConfig
from data.training.grounding import DescriptionMode
from models.mdlm.dam import DamConfig
from models.mdlm.llava import LlavaConfig
from models.mdlm.model import MDLMConfig
from models.mdlm.sam import SamConfig
from models.tiny.llava_sam import TinyLlavaConfig
from train.engine.optim import OptimConfig
from train.engine.tracking import TrackingConfig
from train.mdlm.config import LoopConfig, MixConfig, TrainMDLMConfig
from train.tiny.config import BaseMDLMConfig, BasePart, TinyBaseConfig
from train.tiny.train import train_tiny_base

MakeConfig = Callable[..., TrainMDLMConfig]


def loop(steps: int, batch_size: int = 4) -> LoopConfig:
    return LoopConfig(steps=steps, batch_size=batch_size, checkpoint_every=2, optim=OptimConfig(warmup_steps=2))


@pytest.fixture(scope="session")
def trained_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory that holds a finished base and nothing else."""
    run = tmp_path_factory.mktemp("base") / "run"
    train_tiny_base(configure_base(run))
    return run


@pytest.fixture
def make_base_config(tmp_path: Path) -> Callable[[str], TinyBaseConfig]:
    """The base at toy size, to be made in a run directory of that name."""
    return lambda run: configure_base(tmp_path / run)


@pytest.fixture
def make_config(tmp_path: Path, write_mvtec: Callable[..., Path], trained_base: Path) -> MakeConfig:
    root = write_mvtec()

    def make(run: str = "run", *, with_base: bool = True) -> TrainMDLMConfig:
        config = configure(tmp_path / run, root)
        if with_base and not (tmp_path / run).exists():
            shutil.copytree(trained_base, tmp_path / run)
        return config

    return make


def sam_at(run: Path) -> SamConfig:
    return SamConfig(
        checkpoint=str(run / "mdlm" / "base" / "sam.safetensors"),
        image_size=64,
        patch_size=8,
        width=32,
        depth=1,
        heads=2,
        global_layers=[0],
        window=0,
        relative_positions=False,
        stem=[8, 16, 32],
        channels=32,
        decoder_heads=2,
        decoder_mlp=32,
    )


def configure_base(run: Path) -> TinyBaseConfig:
    """The MDLM's base at toy size."""
    scenes = ReferringConfig(scenes=6, prompts=2)
    return TinyBaseConfig(
        run_dir=str(run),
        part=BasePart.mdlm,
        mdlm=BaseMDLMConfig(
            llava=TinyLlavaConfig(width=32, layers=2, heads=2, mlp=48, tile_size=32, vision_width=16),
            sam=sam_at(run),
            scenes=scenes,
            replay=scenes,
            language=loop(3),
            encoder=loop(3),
            decoder=loop(3),
            referring=loop(3),
        ),
        tracking=TrackingConfig(seconds=0),
    )


def configure(run: Path, root: Path) -> TrainMDLMConfig:
    """The adapter on that base at toy size; `run` is the run directory and `root` the dataset."""
    base = run / "mdlm" / "base"
    return TrainMDLMConfig(
        preset="test",
        run_dir=str(run),
        description=DescriptionMode.fixed,
        data=DataConfig(train=[Source(reader="mvtec_ad", root=str(root))], zero_shot=[]),
        mdlm=MDLMConfig(
            llava=LlavaConfig(path=str(base / "llava")),
            sam=sam_at(run),
            dam=DamConfig(heads=2),
            heads=str(base / "heads.safetensors"),
        ),
        loop=loop(6),
        mix=MixConfig(normal_share=0.25, replay=1, items=str(base / "replay.json")),
        tracking=TrackingConfig(seconds=0),
    )
