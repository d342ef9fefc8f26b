"""Steps on fake tensors beside the same steps on real ones, and the paper's size."""

from dataclasses import replace

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from models.mdlm.llava import Precision
from models.mdlm.model import MDLM
from scripts.command import CONFIGS, to_dataclass
from train.eddm.config import EDDMConfig
from train.mdlm.config import TrainMDLMConfig
from train.mdlm.losses import mask_loss
from train.plan.blueprint import adapt, eddm_blueprint, eddm_shape, mdlm_blueprint, mdlm_shape
from train.plan.footprint import (
    Footprint,
    _language_loss,
    _look,
    eddm_footprint,
    grounding_batch,
    mdlm_footprint,
    measure_step,
)
from train.plan.measure import materialise

GIB = 2**30


def mdlm_config(preset: str, **changes: object) -> TrainMDLMConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        config = to_dataclass(compose("train_mdlm", [f"preset={preset}", "run_dir=RUN"]), TrainMDLMConfig)
    return replace(config, mdlm=replace(config.mdlm, **changes))


def eddm_config(preset: str) -> EDDMConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        config = to_dataclass(compose("train_eddm", [f"preset={preset}", "run_dir=RUN"]), EDDMConfig)
    return replace(config, lora=replace(config.lora, dropout=0.0))  # whose masks differ between CPU and GPU


def same(fake: Footprint, real: Footprint) -> bool:
    return fake.saved == pytest.approx(real.saved, rel=0.01) and fake.flops == real.flops


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("anyres", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("number", [None, torch.bfloat16])
def test_a_fake_step_of_the_mdlm_keeps_what_a_real_one_keeps(
    checkpointing: bool, anyres: bool, number: torch.dtype | None
) -> None:
    config = mdlm_config("tiny", gradient_checkpointing=checkpointing)
    if number:
        config = replace(
            config, mdlm=replace(config.mdlm, llava=replace(config.mdlm.llava, precision=Precision.bfloat16))
        )
    model, _ = mdlm_shape(config)
    materialise(model, torch.device("cpu"))
    real = measure_step(model, lambda: real_loss(model, config, anyres), number)
    fake = mdlm_footprint(mdlm_shape(config)[0], rows=3, text_tokens=20, anyres=anyres, number=number, loss=config.loss)
    assert same(fake, real)
    assert fake.peak == pytest.approx(real.peak, rel=0.05)


def real_loss(model: MDLM, config: TrainMDLMConfig, anyres: bool) -> Tensor:
    batch = grounding_batch(model, 3, 20, anyres=anyres)
    return mask_loss(model(batch), batch.masks, batch.valid, config.loss).total


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_fake_step_of_the_eddm_keeps_what_a_real_one_keeps(checkpointing: bool) -> None:
    config = eddm_config("tiny")

    def build() -> object:
        model, _, _ = eddm_shape(config)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        return adapt(model, config)

    model = build()
    materialise(model, torch.device("cpu"))
    tile = measure_step(model, lambda: _look(model.get_base_model(), 12).sum(), None)
    real = measure_step(model, lambda: _language_loss(model, 3, 1, 20, 12), None)
    fake = eddm_footprint(build(), rows=3, tiles=1, text_tokens=20, side=12, number=None)
    assert tile.saved == 0  # the tower is frozen
    assert fake.saved == pytest.approx(real.saved, rel=0.01)
    assert fake.peak == pytest.approx(max(3 * tile.peak, real.peak), rel=0.05)
    assert fake.flops == 3 * tile.flops + real.flops


@pytest.mark.slow
def test_the_papers_mdlm_on_one_gpu() -> None:
    blueprint = mdlm_blueprint(mdlm_config("paper"))
    plain, checkpointed = (blueprint.measure(8, 128, "one", checkpointing) for checkpointing in (False, True))
    assert plain.saved / GIB == pytest.approx(25.8, rel=0.01)
    assert checkpointed.saved / GIB == pytest.approx(2.23, rel=0.02)
    assert plain.saved < plain.peak < 1.05 * plain.saved
    # per image: the language model forward and back, SAM and CLIP forward; checkpointing runs the layers of the former
    # once more, without the last product of each (2 of 9.3), whose result nobody needs
    assert plain.flops / 8e12 == pytest.approx(2 * 9.3 + 5.96 + 0.36, rel=0.06)
    assert (checkpointed.flops - plain.flops) / 8e12 == pytest.approx(9.3 - 2.0, rel=0.03)


@pytest.mark.slow
def test_the_papers_eddm_on_one_gpu() -> None:
    blueprint = eddm_blueprint(eddm_config("paper"), slices=0)
    step = blueprint.measure(4, 128, "one", False)
    layer = 2 * 3584 * 4 + 4 * 3584 * 2 + 3 * 18944 * 2  # norms, attention and MLP of one token
    inputs = (5 * 3584 + 18944 + 3584) * 2  # of the adapters
    assert step.saved > 28 * 4 * 192 * (layer + inputs)
    assert step.saved < 1.5 * 28 * 4 * 192 * (layer + inputs)
