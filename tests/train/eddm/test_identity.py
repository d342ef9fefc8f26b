from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from models.weights.trust import Admitted
from scripts.command import CONFIGS, to_dataclass
from train.eddm.config import EDDMConfig
from train.eddm.identity import identify
from train.engine.identity import Identity, describe_change


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, Any]]:
    return write_rows(tmp_path / "images")


def write_rows(folder: Path, shade: int = 9) -> list[dict[str, Any]]:
    folder.mkdir()
    rows = []
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((8, 8, 3), shade + number, np.uint8))
        messages = [{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": str(number)}]
        rows.append({"messages": messages, "images": [str(folder / f"{number}.png")], "defect": "hole"})
    return rows


def known(rows: list[dict[str, Any]], *overrides: str, base: Admitted | None = None) -> Identity:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        config = to_dataclass(compose("train_eddm", ["run_dir=r", *overrides]), EDDMConfig)
    return identify(config, rows, base or Admitted(place=Path(config.model.id), revision=None, code=None))


def test_how_the_training_goes_along_is_no_part_of_it(rows: list[dict[str, Any]]) -> None:
    harmless = [
        *("resume=never", "tracking.wandb=offline", "optim.save_steps=7", "optim.gradient_checkpointing=true"),
        *("optim.workers=3", "model.attn_impl=sdpa", "optim.deepspeed=zero2"),
    ]
    assert known(rows) == known(rows, *harmless)
    assert describe_change(known(rows), known(rows, "optim.lr=1.0")) == "optim.lr is 1.0 instead of 0.002"


def test_a_smaller_batch_of_the_same_total_is_the_same_training(rows: list[dict[str, Any]]) -> None:
    assert known(rows, "optim.batch_size=4") == known(rows)
    assert known(rows, "optim.total_batch=16") != known(rows)


def test_data_are_what_they_hold_not_where_they_lie(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    own = known(rows)
    assert known(write_rows(tmp_path / "moved")) == own
    inverted = known(write_rows(tmp_path / "inverted", shade=200))
    assert "questions is '3 rows" not in describe_change(own, own) and "questions is 3 rows" in describe_change(
        own, inverted
    )
    assert "questions is 2 rows" in describe_change(own, known(rows[:2]))
    answered = [row | {"messages": [row["messages"][0], {"role": "assistant", "content": "no"}]} for row in rows]
    assert known(answered) != own


def test_the_bases_weights_count_by_content(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    for name, weights in (("one", "a"), ("copy", "a"), ("other", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(weights)
    one, copy, other = (known(rows, f"model.id={tmp_path / name}") for name in ("one", "copy", "other"))
    assert one == copy != other


def test_another_commit_or_other_code_is_another_training(rows: list[dict[str, Any]]) -> None:
    def at(revision: str, code: str) -> str:
        return known(rows, "model.id=a/b", base=Admitted(place=Path("x"), revision=revision, code=code)).fingerprint

    assert at("1" * 40, "c") == at("1" * 40, "c")
    assert len({at("1" * 40, "c"), at("2" * 40, "c"), at("1" * 40, "d")}) == 3
