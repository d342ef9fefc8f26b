"""Which checkpoints each preset starts from, and what the doctor says about them."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from data.doctor.examine import DoctorConfig
from data.errors import UserError
from models.weights.table import checkpoints, find_checkpoint
from scripts.command import CONFIGS, to_dataclass
from train.eddm.config import EDDMConfig
from train.mdlm.config import TrainMDLMConfig
from train.plan.weights import diagnose_weights, wanted_weights

PRESETS = sorted(path.stem for path in (CONFIGS / "preset").glob("*.yaml"))


def configs(preset: str) -> tuple[EDDMConfig, TrainMDLMConfig]:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        chosen = [f"preset={preset}", "run_dir=RUN"]
        return (
            to_dataclass(compose("train_eddm", chosen), EDDMConfig),
            to_dataclass(compose("train_mdlm", chosen), TrainMDLMConfig),
        )


@pytest.mark.parametrize("preset", PRESETS)
def test_the_table_lists_exactly_what_a_preset_needs(preset: str) -> None:
    wanted = wanted_weights(*configs(preset))
    entries = {item.place: find_checkpoint(item.place) for item in wanted}
    assert all(entries.values()), entries
    assert {entry.name for entry in entries.values() if entry} == {
        entry.name for entry in checkpoints().values() if preset in entry.presets
    }
    for item in wanted:
        entry = entries[item.place]
        assert entry and (item.part, item.key) == (entry.part, entry.key)


def test_the_tiny_preset_needs_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = DoctorConfig(weights="tiny", json=True, out=str(tmp_path / "all.txt"))
    assert diagnose_weights(config, *configs("tiny"))
    document = json.loads(capsys.readouterr().out)
    assert document["passed"] and document["weights"]["checkpoints"] == []
    assert "Healthy" in (tmp_path / "all.txt").read_text()


def test_missing_and_unpinned_weights_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("models.weights.diagnosis.constants.HF_HUB_CACHE", str(tmp_path))
    config = DoctorConfig(weights="paper", out=str(tmp_path / "all.json"))
    assert not diagnose_weights(config, *configs("paper"))
    text = capsys.readouterr().out
    assert "ERROR missing-weights, 3" in text and "ERROR unpinned-code, 2" in text
    assert "hf download llava-hf/llava-v1.6-vicuna-7b-hf" in text
    assert json.loads((tmp_path / "all.json").read_text())["totals"]["error"] >= 5


def test_two_examinations_at_once_are_refused() -> None:
    with pytest.raises(UserError, match="two examinations"):
        diagnose_weights(DoctorConfig(weights="tiny", folder="x"), *configs("tiny"))
