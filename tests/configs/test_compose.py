"""Every YAML composes, with every preset and every data group, into the dataclass of its script."""

import importlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import DictConfig

from data.ddqa.config import DDQAConfig, resolve
from data.errors import UserError
from data.source import Source, load_samples
from models.device import DeviceConfig
from models.experts.clip.backbone import ClipConfig
from models.experts.ddad import DDADConfig
from models.experts.saa.expert import SAAConfig
from models.experts.saa.properties import ClassProperties
from scripts import fit_expert
from scripts.command import CONFIGS, spell_out, to_dataclass
from train.experts.ddad import DDADTrainConfig

NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base")
PRESETS = sorted(path.stem for path in (CONFIGS / "preset").glob("*.yaml"))
DATA = sorted(
    path.stem for path in (CONFIGS / "data").glob("*.yaml") if path.stem not in PRESETS or path.stem == "paper"
)
FREE = [name for name in NAMES if "preset: tiny" not in (CONFIGS / f"{name}.yaml").read_text()]  # of presets
MANDATORY = {
    **{"normals": "n", "log": "l", "form": "mvtec", "image": "i.png"},
    **{"run_dir": "r", "run": "r", "images": "i.png", "source": "s", "ddqa": "d"},
    **{"predictions": "p.json", "classes": "c.yaml", "dataset": "mvtec_ac", "data_root": "d", "out": "o"},
}


def compose_config(name: str, *overrides: str):
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        return compose(name, list(overrides))


@pytest.fixture(autouse=True)
def data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIAD_DATA", "/datasets")


def compose_dataclass(name: str, *overrides: str):
    schema = importlib.import_module(f"scripts.{name}").main.schema
    cfg = compose_config(name, *overrides)
    mandatory = [f"{key}={value}" for key, value in MANDATORY.items() if key in list(cfg)]
    return to_dataclass(compose_config(name, *overrides, *mandatory), schema)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in FREE])
def test_every_script_and_preset(name: str, preset: str) -> None:
    config = compose_dataclass(name, f"preset={preset}")
    assert config.preset == preset
    if hasattr(config, "data"):
        assert config.data.name == ("synthetic" if preset == "tiny" else "paper")


@pytest.mark.parametrize("name", FREE)
def test_a_script_that_no_preset_changes_takes_none(name: str) -> None:
    assert compose_dataclass(name) is not None
    with pytest.raises(ConfigCompositionException, match="preset"):
        compose_config(name, "preset=paper")


def test_a_preset_that_a_script_does_not_know_is_an_error(tmp_path: Path) -> None:
    shutil.copytree(CONFIGS, tmp_path / "configs")
    (tmp_path / "configs/preset/new.yaml").write_text("# @package _global_\npreset: new\n")
    for name in (name for name in NAMES if name not in FREE and name != "plan"):
        with (
            initialize_config_dir(version_base="1.3", config_dir=str(tmp_path / "configs")),
            pytest.raises(MissingConfigException, match="new"),
        ):
            compose(name, ["preset=new"])


def test_the_papers_data_are_asked_for_when_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EIAD_DATA")
    config = compose_dataclass("train_mdlm", "preset=paper")
    with pytest.raises(UserError, match="Set the environment variable EIAD_DATA first"):
        load_samples(config.data.train)


def test_every_command_that_runs_a_model_can_be_told_where_and_in_which_number_format() -> None:
    without_models = ("build_ac", "build_ddqa", "contact_sheet", "dataset_sheet", "ddqa_stats", "doctor")
    without_models += ("export_judgements",)
    without_models += ("make_synthetic", "plan", "report", "run_all")  # the last starts the commands of this list
    trainings = (
        "train_eddm",
        "train_mdlm",
        "train_tiny_base",
    )  # by optim.use_cpu, loop.precision and model.torch_dtype
    for name in set(NAMES) - {*without_models, *trainings, "export_maps"}:
        cfg = compose_config(name)
        assert (cfg.device, cfg.precision) == ("auto", "auto"), name
        assert issubclass(importlib.import_module(f"scripts.{name}").main.schema, DeviceConfig), name
    assert compose_config("export_maps").device == "auto"  # the number format is anomalib's affair


@pytest.mark.parametrize("group", DATA)
@pytest.mark.parametrize("name", NAMES)
def test_every_data_group(name: str, group: str) -> None:
    if not isinstance(compose_config(name).get("data"), DictConfig):
        pytest.skip(f"{name} takes no data")
    config = compose_dataclass(name, f"data={group}")
    assert config.data.name == group
    assert config.data.train
    assert config.data.zero_shot
    assert all(Path(source.root).name for source in [*config.data.train, *config.data.zero_shot])


def test_both_sizes_of_ddad() -> None:
    """The tiny one is what the dataclasses say, so that a pipeline that fits it by itself gets the same."""
    line = ["expert=ddad", "dataset=mvtec_ad", "data_root=d", "out=o"]
    tiny, paper = (fit_expert.main.parse([*line, f"ddad={size}"]) for size in ("tiny", "paper"))
    assert (tiny.ddad, tiny.train_ddad) == (DDADConfig(), DDADTrainConfig()) and not tiny.ddad.features
    assert paper.ddad.features and paper.ddad.backbone.image_size == 256 and paper.ddad.condition == 2


def test_saa_as_published_and_with_the_small_sam() -> None:
    line = ["expert=saa_plus", "dataset=mvtec_ad", "data_root=d", "out=o"]
    published, small = (fit_expert.main.parse([*line, f"saa={size}"]).saa for size in ("vit_h", "vit_b"))
    assert published == SAAConfig() and small.sam.width == 768
    assert small == replace(published, sam=small.sam)
    told = fit_expert.main.parse([*line, "saa.dino.path=D", "saa.default={objects: 2, boxes: 5, area: 0.9}"]).saa
    assert told.dino.path == "D" and told.default == ClassProperties(objects=2, boxes=5, area=0.9)
    told = fit_expert.main.parse(
        [*line, "+saa.classes.gear={objects: 1, boxes: 5, area: 0.9, phrases: [dark crack]}"]
    ).saa
    assert told.classes["gear"].phrases == ["dark crack"] and told.default is None


@pytest.mark.parametrize("name", ["eval_classification", "eval_expert", "export_maps", "fit_expert", "inspect"])
def test_every_command_of_experts_takes_the_same_clips(name: str) -> None:
    own, openai = (compose_dataclass(name, *words).clip for words in ([], ["clip=vit_b_16", "clip.checkpoint=F"]))
    assert own == ClipConfig()
    assert openai == ClipConfig(model="ViT-B-16-quickgelu", checkpoint="F")


@pytest.mark.parametrize(
    ("convention", "side"),
    [("ours", None), ("winclip", 240), ("april_gan", 518), ("saa", None), ("ader", 256), ("dinomaly", 392)],
)
def test_a_convention_says_at_which_size_a_clip_sees(convention: str, side: int | None) -> None:
    assert compose_dataclass("eval_expert", f"convention={convention}").clip_side() == side


def test_every_preset_file_belongs_to_a_known_preset() -> None:
    for name in NAMES:
        for path in (CONFIGS / name).glob("*.yaml") if (CONFIGS / name).is_dir() else []:
            assert path.stem in PRESETS, f"{path} can never be chosen: there is no configs/preset/{path.name}"


def test_a_source_takes_its_folder_its_settings_and_its_readers_options_together() -> None:
    arguments = [
        "sources=[real_iad,bsdata]",
        "data_root=d",
        "out=o",
        "paths.real_iad=elsewhere",
        "settings.real_iad.options.resolution=1024",
        "settings.real_iad.splits=[train]",
    ]
    cfg = compose_config("build_ddqa", *[spell_out(argument, DDQAConfig, {}) for argument in arguments])
    first, second = resolve(to_dataclass(cfg, DDQAConfig))[0]
    assert first == Source(reader="real_iad", root="elsewhere", options={"resolution": 1024}, splits=["train"])
    assert second == Source(reader="bsdata", root="d/bsdata")


def test_the_papers_questions_come_from_its_four_sources() -> None:
    cfg = compose_config("build_ddqa", "data=paper", "run_dir=r")
    sources, _ = resolve(to_dataclass(cfg, DDQAConfig))
    assert [source.reader for source in sources] == ["bsdata", "pd_real", "real_iad", "vision"]


@pytest.mark.parametrize("convention", sorted(path.stem for path in (CONFIGS / "convention").glob("*.yaml")))
@pytest.mark.parametrize("name", ["eval_segmentation", "eval_expert", "reproduce"])
def test_a_convention_sets_its_values_and_each_can_be_overridden(name: str, convention: str) -> None:
    assert compose_dataclass(name, f"convention={convention}").shown_convention() == convention
    changed = compose_dataclass(name, f"convention={convention}", "resolution=96", "score_fraction=0.02")
    assert changed.shown_convention() == f"{convention} with resolution=96, score_fraction=0.02"
