from dataclasses import replace
from types import SimpleNamespace

import cv2
import pytest
import torch
from hydra import compose, initialize_config_dir

from scripts.command import CONFIGS, to_dataclass
from train.mdlm.config import TrainMDLMConfig
from train.plan.feeding import time_image
from train.plan.report import PartPlan


@pytest.fixture
def paper() -> TrainMDLMConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        return to_dataclass(compose("train_mdlm", ["preset=paper", "run_dir=RUN"]), TrainMDLMConfig)


def test_an_image_takes_time_and_leaves_no_setting_behind(paper: TrainMDLMConfig) -> None:
    before = cv2.getNumThreads(), torch.get_num_threads()
    assert 0.005 < time_image(paper) < 5
    assert (cv2.getNumThreads(), torch.get_num_threads()) == before


def test_faster_steps_need_more_workers() -> None:
    part = PartPlan(blueprint=None, options=[], samples=1, samples_from="", image_seconds=0.1)  # type: ignore[arg-type]
    slow = SimpleNamespace(rows=1, accumulation=1, step_seconds=0.5)
    assert part.workers(slow) == 1  # type: ignore[arg-type]
    assert part.workers(SimpleNamespace(rows=4, accumulation=2, step_seconds=0.5)) == 2  # type: ignore[arg-type]
    assert replace(part, image_seconds=None).workers(slow) is None  # type: ignore[arg-type]
