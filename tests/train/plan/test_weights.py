"""Which checkpoints each preset starts from, and what the doctor says about them."""

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import save_file

from data.doctor.examine import DoctorConfig
from data.errors import UserError
from models.experts.saa.expert import SAAConfig
from models.weights.table import checkpoints, find_checkpoint
from scripts.command import CONFIGS, to_dataclass
from scripts.doctor import examine_preset
from train.eddm.config import EDDMConfig
from train.mdlm.config import TrainMDLMConfig
from train.plan.weights import diagnose_weights, wanted_by_saa, wanted_weights

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
    assert diagnose_weights(config, wanted_weights(*configs("tiny")))
    document = json.loads(capsys.readouterr().out)
    assert document["passed"] and document["weights"]["checkpoints"] == []
    assert "Healthy" in (tmp_path / "all.txt").read_text()


def test_the_table_lists_what_saa_needs() -> None:
    wanted = wanted_by_saa(SAAConfig())
    entries = [find_checkpoint(item.place) for item in wanted]
    assert [entry.name for entry in entries if entry] == ["grounding-dino-tiny", "wide-resnet-50-2", "sam-vit-h"]
    for item, entry in zip(wanted[:2], entries, strict=False):
        assert entry and (item.part, item.key, entry.experts) == (entry.part, entry.key, ("saa_plus",))


def test_the_doctor_knows_saa(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing, with where to get it; a backbone that is there, and one that is cut."""
    monkeypatch.setattr("models.weights.diagnosis.constants.HF_HUB_CACHE", str(tmp_path))
    backbone = tmp_path / "wide_resnet50_racm-8234f177.safetensors"
    save_file({"conv1.weight": torch.zeros(3)}, backbone)
    settings = {"backbone": {"weights": str(backbone)}, "sam": {"checkpoint": str(tmp_path / "sam_vit_h_4b8939.pth")}}
    assert not examine_preset(DoctorConfig(weights="saa", saa=settings))
    text = capsys.readouterr().out
    assert "ERROR missing-weights, 2" in text and "hf download IDEA-Research/grounding-dino-tiny" in text
    assert "saa.dino.path=PATH for scripts.eval_expert" in text and "sam_vit_h_4b8939.pth" in text
    backbone.write_bytes(backbone.read_bytes()[:-4])
    assert not examine_preset(DoctorConfig(weights="saa", saa=settings))
    assert "ERROR broken-weights, 1" in capsys.readouterr().out


def test_missing_and_unpinned_weights_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("models.weights.diagnosis.constants.HF_HUB_CACHE", str(tmp_path))
    config = DoctorConfig(weights="paper", out=str(tmp_path / "all.json"))
    assert not diagnose_weights(config, wanted_weights(*configs("paper")))
    text = capsys.readouterr().out
    assert "ERROR missing-weights, 3" in text and "ERROR unpinned-code, 2" in text
    assert "hf download llava-hf/llava-v1.6-vicuna-7b-hf" in text
    assert json.loads((tmp_path / "all.json").read_text())["totals"]["error"] >= 5


def test_two_examinations_at_once_are_refused() -> None:
    with pytest.raises(UserError, match="two examinations"):
        diagnose_weights(DoctorConfig(weights="tiny", folder="x"), [])
