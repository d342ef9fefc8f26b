from collections.abc import Callable

import numpy as np
import pytest

from scripts.benchmarks.step import time_plain, time_training
from tests.train.conftest import make_config, trained_base  # type: ignore[import-not-found]  # noqa: F401
from train.mdlm.config import TrainMDLMConfig


def test_both_loops_take_the_same_steps(make_config: Callable[..., TrainMDLMConfig]) -> None:  # noqa: F811
    config = make_config()
    trained, plain = time_training(config), time_plain(config)
    assert trained.losses == pytest.approx(plain.losses, rel=1e-5)
    assert np.ptp(plain.losses) > 0
    for steps in (trained, plain):
        assert steps.losses.shape == (config.loop.steps,) and steps.seconds.shape == (config.loop.steps - 1, 2)
        assert (steps.seconds > 0).all()
