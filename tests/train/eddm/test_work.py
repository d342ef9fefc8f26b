import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from data.errors import UserError
from scripts.command import CONFIGS, to_dataclass
from train.eddm.checkpoints import seal
from train.eddm.config import EDDMConfig
from train.eddm.work import STAMP, claim_work, describe_settings
from train.engine.resume import Resume


def settings(*overrides: str, rows: int = 10, questions: str = "a") -> dict[str, str]:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        config = to_dataclass(compose("train_eddm", ["run_dir=r", *overrides]), EDDMConfig)
    return describe_settings(config) | {"rows": str(rows), "questions": questions}


def start(work: Path, *, with_checkpoint: bool) -> Path:
    claim_work(work, settings(), Resume.auto)
    checkpoint = work / "checkpoint-2"
    checkpoint.mkdir()
    state = {"global_step": 2, "max_steps": 8, "log_history": []}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    if with_checkpoint:
        seal(checkpoint, world=1)
    return checkpoint


def test_what_changes_nothing_in_the_result_is_no_setting() -> None:
    assert settings() == settings("resume=never", "tracking=wandb", "optim.save_steps=7", "run_dir=other")
    assert settings() != settings("optim.lr=1")


def test_the_same_settings_go_on(tmp_path: Path) -> None:
    checkpoint = start(tmp_path / "lora", with_checkpoint=True)
    claim_work(tmp_path / "lora", settings(), Resume.auto)
    assert checkpoint.is_dir()


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (settings(rows=7, questions="b"), "it had 10 questions, now there are 7"),
        (settings(questions="b"), "now there are 10 (other questions in their place)"),
        (settings("optim.lr=1.0"), "optim.lr is 1.0 instead of 0.002"),
    ],
)
def test_a_checkpoint_of_other_data_or_settings_is_never_thrown_away_unasked(
    tmp_path: Path, now: dict[str, str], said: str
) -> None:
    checkpoint = start(tmp_path / "lora", with_checkpoint=True)
    with pytest.raises(UserError) as error:
        claim_work(tmp_path / "lora", now, Resume.auto)
    assert said in str(error.value) and "resume=never" in str(error.value)
    assert checkpoint.is_dir()
    claim_work(tmp_path / "lora", now, Resume.never)
    assert not checkpoint.exists() and json.loads((tmp_path / "lora" / STAMP).read_text()) == now


def test_without_a_checkpoint_nothing_is_lost(tmp_path: Path) -> None:
    start(tmp_path / "lora", with_checkpoint=False)
    claim_work(tmp_path / "lora", settings("optim.lr=1.0"), Resume.auto)
    assert [path.name for path in (tmp_path / "lora").iterdir()] == [STAMP]
