from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.files import write_json, write_jsonl
from data.run import Run

SIZE = 32


def make_dataset(root: Path, categories: Sequence[str], seed: int) -> None:
    """Grey noise; defects are reddish squares, each with a fainter decoy elsewhere."""
    random = np.random.default_rng(seed)
    entries = []
    for category in categories:
        for index in range(6):
            defect = "good" if index < 3 else "hole"
            image = random.integers(60, 120, (SIZE, SIZE, 3)).astype(np.uint8)
            mask = np.zeros((SIZE, SIZE), np.uint8)
            if defect != "good":
                mask[4:10, 3 + index : 9 + index] = 255
                image[mask > 0] = (200, 40, 40)
                image[22:28, 22:28, 0] = 160
            path = root / category / "test" / defect / f"{index:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image[..., ::-1])
            if defect != "good":
                mask_path = root / category / "ground_truth" / defect / f"{index:03d}_mask.png"
                mask_path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(mask_path), mask)
            decoys = [[22, 22, 28, 28]] if index == 5 else []
            entries.append({"image": path.relative_to(root).as_posix(), "decoys": decoys})
    write_json(root / "factory.json", entries)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    make_dataset(run.data / "seen", ["gear"], 0)
    make_dataset(run.data / "unseen", ["washer", "tile"], 1)
    write_jsonl(run.ddqa / "train.jsonl", [{"dataset": "mvtec_ad", "category": "gear"}])
    for mode in ("eddm", "fixed"):
        write_json(run.mdlm / mode / "config.json", {"preset": "tiny", "data": {"train": [vars_of(run, "seen")]}})
        (run.mdlm / mode / "heads.safetensors").write_bytes(b"weights")
    return run


def vars_of(run: Run, side: str) -> dict[str, str]:
    return {"reader": "mvtec_ad", "root": str(run.data / side)}
