import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from data.errors import UserError
from scripts.command import CONFIGS, to_dataclass
from train.eddm.config import DEEPSPEED, BatchPlan, EDDMConfig, OptimConfig, check_model, plan_batch, zero_stage


def compose_config(*overrides: str) -> EDDMConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        return to_dataclass(compose("train_eddm", ["run_dir=r", *overrides]), EDDMConfig)


def test_remote_code_needs_a_pinned_revision() -> None:
    with pytest.raises(UserError, match="revision"):
        check_model(compose_config("preset=paper", "model.trust_remote_code=true"))
    check_model(compose_config("preset=paper", "model.trust_remote_code=true", "model.revision=abc"))


def test_a_wrong_checkpoint_folder_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        check_model(compose_config("preset=minicpm-v-4.6", f"model.id={tmp_path}"))
    with pytest.raises(UserError, match=r"Make it first: python -m scripts\.train_tiny_base run_dir=r"):
        check_model(compose_config("base=train"))
    with pytest.raises(UserError, match="preset=paper starts from others"):
        check_model(compose_config("preset=paper", "base=train"))


@pytest.mark.parametrize(
    ("total", "held", "ranks", "plan"),
    [(32, 32, 1, (32, 1)), (32, 32, 2, (16, 1)), (16, 4, 1, (4, 4)), (16, 4, 2, (4, 2)), (16, 4, 8, (2, 1))],
)
def test_the_total_batch_stays(total: int, held: int, ranks: int, plan: tuple[int, int]) -> None:
    found = plan_batch(OptimConfig(lr=1, total_batch=total, batch_size=held), ranks)
    assert found == BatchPlan(*plan, ranks)
    assert found.rows * found.accumulation * found.ranks == total


@pytest.mark.parametrize(("total", "held", "ranks"), [(16, 4, 3), (10, 4, 1), (4, 4, 8), (0, 4, 1), (8, 0, 1)])
def test_a_batch_that_cannot_be_spread_is_a_user_error(total: int, held: int, ranks: int) -> None:
    with pytest.raises(UserError, match=f"total_batch={total} cannot be spread over {ranks} ranks"):
        plan_batch(OptimConfig(lr=1, total_batch=total, batch_size=held), ranks)


def test_zero_3_on_a_cpu_is_refused() -> None:
    with pytest.raises(UserError, match=r"ZeRO-3.*does not run on the CPU"):
        check_model(compose_config("optim.deepspeed=zero3"))
    check_model(compose_config("preset=minicpm-v-4.6", "optim.deepspeed=zero2", "optim.use_cpu=true"))
    check_model(compose_config("preset=minicpm-v-4.6", "optim.deepspeed=zero3"))


def test_ms_swifts_deepspeed_files_have_the_stage_of_their_name() -> None:
    import swift

    for name in DEEPSPEED:
        path = Path(swift.__file__).parent / "config" / f"{name}.json"
        assert zero_stage(str(path)) == zero_stage(name)


def test_another_deepspeed_file_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 2}}))
    assert zero_stage(str(path)) == 2
    path.write_text(json.dumps({"zero_optimization": {}}))
    with pytest.raises(UserError, match=r"No zero_optimization\.stage"):
        zero_stage(str(path))
    with pytest.raises(UserError, match="is no file and none of"):
        zero_stage("zero9")


@pytest.mark.parametrize("wrong", ["optim.keep=1", "optim.save_steps=0", "optim.log_steps=0"])
def test_settings_that_lose_work_are_refused(wrong: str) -> None:
    with pytest.raises(UserError, match=wrong.replace(".", r"\.")):
        check_model(compose_config(wrong))
