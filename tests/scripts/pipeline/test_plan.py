import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.run import SHIPPED
from data.source import DataConfig, Source
from models.weights.shipped import TinyBase, name_shipped
from scripts.command import CONFIGS
from scripts.pipeline.plan import RunAllConfig, plan_stages, with_settings

SYNTHETIC = DataConfig(name="synthetic", train=[], zero_shot=[])


@pytest.mark.parametrize("data", ["synthetic", "real"])
@pytest.mark.parametrize(("preset", "base"), [("tiny", "shipped"), ("tiny", "train"), ("paper", "shipped")])
def test_every_stage_is_a_command_that_composes(
    data: str, preset: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EIAD_DATA", "/datasets")
    sources = DataConfig(name=data, train=[], zero_shot=[])
    stages = plan_stages(RunAllConfig(preset=preset, base=TinyBase(base), run_dir="r", data=sources))
    known: set[str] = set()
    for stage in stages:
        assert set(stage.needs) <= known, f"{stage.name} needs a later stage"
        known.add(stage.name)
        module, *overrides = stage.arguments
        importlib.import_module(module).main.parse(overrides)


def test_extra_arguments_reach_their_stage() -> None:
    stages = plan_stages(RunAllConfig(preset="tiny", run_dir="r", data=SYNTHETIC, extra=["eddm: optim.lr=1e-3"]))
    assert [s.name for s in stages if "optim.lr=1e-3" in s.arguments] == ["eddm"]
    with pytest.raises(UserError, match="edm"):
        plan_stages(RunAllConfig(preset="tiny", run_dir="r", data=SYNTHETIC, extra=["edm: optim.lr=1e-3"]))


def settings_of(run_dir: str, data: DataConfig = SYNTHETIC, **changes: Any) -> dict[str, dict[str, Any]]:
    config = RunAllConfig(preset="tiny", run_dir=run_dir, data=data, **changes)
    return {stage.name: stage.settings for stage in with_settings(config)}


def test_settings_do_not_depend_on_how_the_run_directory_is_spelled(tmp_path: Path) -> None:
    first = settings_of("runs/demo")
    assert settings_of("./runs//demo/") == settings_of(str(tmp_path)) == first
    assert {name for name, settings in settings_of("runs/demo", seed=1).items() if settings == first[name]} == {
        *("describe-train", "describe-zero-shot", "eval-eddm", "eval-without-eddm", "eval-with-eddm", "report"),
        *("eval-decoys-oracle", "eval-decoys-shuffled", "calibrate"),
    }
    changed = settings_of("runs/demo", extra=["eddm: optim.lr=1e-3"])
    assert [name for name in first if changed[name] != first[name]] == ["eddm"]
    with pytest.raises(UserError, match=r"scripts\.train_eddm has no setting optim\.lrr\. Did you mean optim\.lr\?"):
        settings_of("runs/demo", extra=["eddm: optim.lrr=1"])


def test_bases_are_made_where_they_are_asked_for_and_else_count_by_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, made = settings_of("r"), settings_of("r", base=TinyBase.train)
    assert set(made) - set(here) == {"eddm-vision", "eddm-language", "eddm-base", "mdlm-base"}
    assert made["eddm"]["model"]["id"] == "RUN/eddm/base"
    assert made["mdlm"]["mdlm"]["sam"]["checkpoint"] == "RUN/mdlm/base/sam.safetensors"
    assert here["eddm"]["model"]["id"] == name_shipped(SHIPPED / "eddm")
    shutil.copytree(SHIPPED, tmp_path / "moved")
    for module in ("scripts.command", "models.weights.shipped"):
        monkeypatch.setattr(f"{module}.SHIPPED", tmp_path / "moved")
    assert settings_of("r") == here
    with (tmp_path / "moved" / "mdlm" / "replay.json").open("a") as file:
        file.write(" ")
    changed = settings_of("r")
    assert [name for name in here if changed[name] != here[name]] == ["mdlm-without-eddm", "mdlm"]
    with pytest.raises(UserError, match="preset=paper starts from others"):
        plan_stages(RunAllConfig(preset="paper", base=TinyBase.train, run_dir="r", data=SYNTHETIC))


def test_an_edited_preset_is_another_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = settings_of("r")
    shutil.copytree(CONFIGS, tmp_path / "configs")
    path = tmp_path / "configs" / "train_mdlm" / "tiny.yaml"
    path.write_text(path.read_text().replace("steps: 200", "steps: 199"))
    monkeypatch.setattr("scripts.command.CONFIGS", tmp_path / "configs")
    edited = settings_of("r")
    assert [name for name in first if edited[name] != first[name]] == ["mdlm-without-eddm", "mdlm"]


def test_the_content_of_the_data_counts_and_not_its_place(
    write_mvtec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_mvtec("a")
    shutil.copytree(root, tmp_path / "moved")
    here, moved = (
        DataConfig(name="real", train=[Source(reader="mvtec_ad", root=str(folder))], zero_shot=[])
        for folder in (root, tmp_path / "moved")
    )
    monkeypatch.setenv("EIAD_DATA", str(tmp_path))
    first = settings_of("r", here)
    assert settings_of("r", moved) == first
    image = tmp_path / "moved/washer/train/good/000.png"
    shutil.copy(tmp_path / "moved/washer/train/good/001.png", image)
    again = settings_of("r", moved)
    assert {name for name in first if again[name] == first[name]} == {*("eddm", "eval-eddm", "report")}
    with pytest.raises(UserError, match="No dataset folder"):
        settings_of("r", DataConfig(name="real", train=[Source(reader="visa", root="nowhere")], zero_shot=[]))


def test_at_the_papers_scale_only_what_is_drawn_is_described() -> None:
    data = DataConfig(name="paper", train=[], zero_shot=[])
    for preset, expected in (("paper", ["only=drawn", "++mdlm.seed=5"]), ("tiny", [])):
        stages = {
            stage.name: stage for stage in plan_stages(RunAllConfig(preset=preset, run_dir="r", data=data, seed=5))
        }
        words = stages["describe-train"].arguments
        assert [word for word in words if word.startswith(("only", "++mdlm"))] == expected


def test_trust_reaches_the_stages_that_load_eddm() -> None:
    def trusting(**changes: Any) -> dict[str, str]:
        stages = plan_stages(RunAllConfig(preset="paper", run_dir="r", data=SYNTHETIC, **changes))
        return {s.name: word for s in stages for word in s.arguments if word.endswith("trust_remote_code=true")}

    assert trusting() == {}
    assert trusting(trust_remote_code=True) == {
        "eddm": "model.trust_remote_code=true",
        **dict.fromkeys(["describe-train", "eval-eddm", "describe-zero-shot", "calibrate"], "trust_remote_code=true"),
    }
