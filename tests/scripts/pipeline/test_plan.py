import importlib

import pytest
from hydra import compose, initialize_config_dir

from data.errors import UserError
from data.source import DataConfig
from scripts.command import CONFIGS, to_dataclass
from scripts.pipeline.plan import RunAllConfig, plan_stages

SYNTHETIC = DataConfig(name="synthetic", train=[], zero_shot=[])


@pytest.mark.parametrize("data", ["synthetic", "real"])
@pytest.mark.parametrize("preset", ["tiny", "paper"])
def test_every_stage_is_a_command_that_composes(data: str, preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIAD_DATA", "/datasets")
    stages = plan_stages(RunAllConfig(preset=preset, run_dir="r", data=DataConfig(name=data, train=[], zero_shot=[])))
    known: set[str] = set()
    for stage in stages:
        assert set(stage.needs) <= known, f"{stage.name} needs a later stage"
        known.add(stage.name)
        module, *overrides = stage.arguments
        with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
            cfg = compose(module.removeprefix("scripts."), overrides)
        to_dataclass(cfg, importlib.import_module(module).main.schema)


def test_extra_arguments_reach_their_stage() -> None:
    stages = plan_stages(RunAllConfig(preset="tiny", run_dir="r", data=SYNTHETIC, extra=["eddm: optim.lr=1e-3"]))
    assert [s.name for s in stages if "optim.lr=1e-3" in s.arguments] == ["eddm"]
    with pytest.raises(UserError, match="edm"):
        plan_stages(RunAllConfig(preset="tiny", run_dir="r", data=SYNTHETIC, extra=["edm: optim.lr=1e-3"]))
