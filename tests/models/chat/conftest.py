"""An untrained tiny MiniCPM-V 4.6 and four photos beside it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model, build_processor, save_checkpoint
from train.tiny.eddm import tiny_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    config = TinyMiniCPMVConfig(text_layers=2, vision_layers=2)
    tokenizer = tiny_tokenizer(1536)
    torch.manual_seed(0)
    save_checkpoint(folder, build_model(config, tokenizer), build_processor(config, tokenizer))
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (96, 96, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), pixels)
    return folder
