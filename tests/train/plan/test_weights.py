"""Which checkpoints each preset starts from, and what the doctor says about them."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import save_file

from data.doctor.examine import DoctorConfig
from data.errors import UserError
from data.files import hash_file
from models.weights.table import checkpoints, find_checkpoint
from scripts.command import CONFIGS, to_dataclass
from scripts.doctor import examine_preset
from train.eddm.config import EDDMConfig
from train.mdlm.config import TrainMDLMConfig
from train.plan.weights import compose_checkpoints, diagnose_weights, list_checkpoints, wanted_weights

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


def test_a_plan_lists_checkpoints_with_who_wants_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.weights.hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "sam_vit_h_4b8939.pth").touch()
    listed = list_checkpoints(*configs("paper"))
    by_title = {(one["title"], *one["wanted_by"]): one for one in listed}
    clip = by_title[
        "CLIP ViT-B/16+ at 240 px (LAION-400M, epoch 31)", "expert=winclip", "expert=anoclip", "expert=clip_surgery"
    ]
    assert clip["gigabytes"] == 0.83 and clip["path"] == ""
    hub = "timm/vit_base_patch16_plus_clip_240.laion400m_e31"
    assert f"0.83 GB: hf download {hub} open_clip_model.safetensors, or download https://github.com/" in clip["get"]
    assert "or set clip.checkpoint=PATH for scripts.eval_expert" in clip["get"]
    for user in ("preset=paper", "expert=saa_plus"):
        assert by_title["SAM ViT-H", user]["path"].endswith("sam_vit_h_4b8939.pth")
    text = "\n".join(compose_checkpoints(listed))
    assert "wanted by expert=winclip, expert=anoclip, expert=clip_surgery" in text and "not here. 0.69 GB: " in text
    assert all(one["wanted_by"][0].startswith("expert=") for one in list_checkpoints(*configs("tiny")))


def test_the_doctor_knows_the_clip(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing; there but of another CLIP; whole in the hub's cache; there with other bytes than the hub sent."""
    monkeypatch.setattr("models.weights.hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert not examine_preset(DoctorConfig(weights="clip"))
    text = capsys.readouterr().out
    assert "CLIP ViT-B/16+ at 240 px" in text and "expert=winclip, expert=anoclip, expert=clip_surgery" in text
    assert "ERROR missing-weights, 1" in text and "hf download timm/vit_base_patch16_plus_clip_240" in text

    own = write_clip(tmp_path / "clip.safetensors")
    assert not examine_preset(DoctorConfig(weights="clip", clip={"checkpoint": str(own)}))
    assert "ERROR wrong-architecture, 1" in capsys.readouterr().out
    settings = {"checkpoint": str(own), "model": "doctor-clip"}
    assert examine_preset(DoctorConfig(weights="clip", clip=settings))
    assert "unknown-weights, 1" in capsys.readouterr().out

    repository = tmp_path / "models--timm--vit_base_patch16_plus_clip_240.laion400m_e31"
    blob = repository / "blobs" / hash_file(own)
    snapshot = repository / "snapshots" / ("a" * 40)
    for folder in (blob.parent, snapshot, repository / "refs"):
        folder.mkdir(parents=True)
    own.rename(blob)
    (repository / "refs" / "main").write_text("a" * 40)
    (snapshot / "open_clip_model.safetensors").symlink_to(blob)
    monkeypatch.setattr("models.weights.wanted.PUBLISHED", "doctor-clip")
    assert examine_preset(DoctorConfig(weights="clip", clip={"model": "doctor-clip"}))
    assert f"sha256 {blob.name}  open_clip_model.safetensors (as published)" in capsys.readouterr().out
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    assert not examine_preset(DoctorConfig(weights="clip", clip={"model": "doctor-clip"}))
    assert "ERROR wrong-hash, 1" in capsys.readouterr().out


def write_clip(path: Path) -> Path:
    """Weights of a small CLIP that open_clip then knows as `doctor-clip`."""
    tower = {"width": 32, "layers": 1}
    sizes = {
        "embed_dim": 16,
        "vision_cfg": {**tower, "image_size": 32, "patch_size": 16, "head_width": 16},
        "text_cfg": {**tower, "context_length": 77, "vocab_size": 49408, "heads": 2},
    }
    path.with_name("doctor-clip.json").write_text(json.dumps(sizes))
    open_clip.add_model_config(path.with_name("doctor-clip.json"))
    save_file(open_clip.create_model("doctor-clip", load_weights=False).state_dict(), path)
    return path


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
