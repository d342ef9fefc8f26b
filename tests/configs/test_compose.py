"""Every YAML composes, with every preset and every data group, into the dataclass of its script."""

import importlib
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from scripts.command import CONFIGS, to_dataclass

NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base")
PRESETS = sorted(path.stem for path in (CONFIGS / "preset").glob("*.yaml"))
DATA = sorted(path.stem for path in (CONFIGS / "data").glob("*.yaml"))
MANDATORY = {
    **{"run_dir": "r", "run": "r", "image": "i.png", "source": "s", "out": "o"},
    **{"predictions": "p.json", "classes": "c.yaml", "dataset": "mvtec_ac", "data_root": "d"},
}


def compose_config(name: str, *overrides: str):
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        return compose(name, list(overrides))


@pytest.fixture(autouse=True)
def data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIAD_DATA", "/datasets")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", NAMES)
def test_every_script_and_preset(name: str, preset: str) -> None:
    schema = importlib.import_module(f"scripts.{name}").main.schema
    cfg = compose_config(name, f"preset={preset}")
    overrides = [f"{key}={value}" for key, value in MANDATORY.items() if key in list(cfg)]
    config = to_dataclass(compose_config(name, f"preset={preset}", *overrides), schema)
    assert config.preset == preset


@pytest.mark.parametrize("group", DATA)
@pytest.mark.parametrize("name", NAMES)
def test_every_data_group(name: str, group: str) -> None:
    if not isinstance(compose_config(name).get("data"), DictConfig):
        pytest.skip(f"{name} takes no data")
    schema = importlib.import_module(f"scripts.{name}").main.schema
    cfg = compose_config(name)
    overrides = [f"{key}={value}" for key, value in MANDATORY.items() if key in list(cfg)]
    config = to_dataclass(compose_config(name, f"data={group}", *overrides), schema)
    assert config.data.name == group
    assert config.data.train
    assert config.data.zero_shot
    assert all(Path(source.root).name for source in [*config.data.train, *config.data.zero_shot])


def test_every_preset_file_belongs_to_a_known_preset() -> None:
    for name in NAMES:
        for path in (CONFIGS / name).glob("*.yaml") if (CONFIGS / name).is_dir() else []:
            assert path.stem in PRESETS, f"{path} can never be chosen: there is no configs/preset/{path.name}"
