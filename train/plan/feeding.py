"""How long a data worker needs for one image of the MDLM's training: its real steps, timed here on generated files."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from data.masks import MaskFile
from data.sample import Sample
from data.training.grounding import SampleGrounding
from models.mdlm.preprocess import sam_input, tower_input
from models.weights.shapes import architecture
from train.mdlm.config import TrainMDLMConfig

SIDE = 2048  # of the generated photos, in pixels: between MVTec AD's 1024 and a factory camera's 4096
REPEATS = 3


def time_image(config: TrainMDLMConfig) -> float:
    """Seconds for one photo on one core: decoding JPEG and mask, resizing, augmenting, SAM's and the tower's input."""
    tile = architecture(config.mdlm.llava.path).get("vision_config", {}).get("image_size", 336)
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            items = SampleGrounding([_draw(Path(folder))], [""], config.seed, config.augment, side=config.side)
            seconds = []
            for epoch in range(REPEATS):
                start = time.perf_counter()
                image = items.get(epoch, 0).image
                sam_input(image, config.mdlm.sam.image_size)
                tower_input(image, tile)
                seconds.append(time.perf_counter() - start)
    finally:
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])
    return float(np.median(seconds))


def _draw(folder: Path) -> Sample:
    """A photo with the detail of a real one, for noise alone would make the largest and slowest JPEG."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "image.jpg"), cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:99, :99] = 255
    cv2.imwrite(str(folder / "mask.png"), mask)
    return Sample(
        id="photo",
        dataset="generated",
        category="plate",
        split="train",
        image=folder / "image.jpg",
        defect="scratch",
        mask=MaskFile(folder / "mask.png"),
    )
