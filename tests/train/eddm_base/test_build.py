import json
from pathlib import Path

import pytest

from data.files import read_jsonl
from data.scene_pool import ScenePoolConfig
from models.tiny.minicpmv import TinyMiniCPMVConfig
from train.eddm_base.build import Part, falling, train_base, train_part
from train.eddm_base.config import BaseConfig

SMALL = BaseConfig(
    model=TinyMiniCPMVConfig(vision_layers=2, text_layers=1),
    scenes=ScenePoolConfig(count=6),
    language_steps=2,
    vision_steps=2,
    joint_steps=2,
    language_batch=2,
    vision_batch=2,
    joint_batch=2,
    joint_scenes=6,
)


def test_parts_are_trained_once_and_put_together(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    train_part(SMALL, folder, Part.vision, seed=0)
    kept = tmp_path / "base.parts" / "vision.safetensors"
    before = kept.stat().st_mtime_ns
    train_part(SMALL, folder, Part.vision, seed=0)
    assert kept.stat().st_mtime_ns == before
    rows: list[dict[str, object]] = []
    train_base(SMALL, folder, seed=0, row=rows.append)
    assert [row["part"] for row in rows] == ["language", "vision", "joint"]
    assert json.loads((folder / "config.json").read_text())["model_type"] == "minicpmv4_6"
    assert not (tmp_path / "base.parts").exists()


def test_a_part_of_another_seed_is_trained_again(tmp_path: Path) -> None:
    train_part(SMALL, tmp_path / "base", Part.language, seed=0)
    kept = tmp_path / "base.parts" / "language.safetensors"
    before = kept.read_bytes()
    train_part(SMALL, tmp_path / "base", Part.language, seed=1)
    assert kept.read_bytes() != before
    assert len(read_jsonl(tmp_path / "base.parts" / "language.jsonl")) == 1


@pytest.mark.parametrize(("share", "factor"), [(0.0, 1.0), (0.5, 1.0), (0.75, 0.51), (1.0, 0.02)])
def test_the_rate_falls_after_a_plateau(share: float, factor: float) -> None:
    assert falling(share, 0.5) == pytest.approx(factor)
