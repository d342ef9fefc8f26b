"""Both parts of every preset, composed as their own commands compose them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from data.errors import UserError
from data.run import Run
from scripts.command import CONFIGS, to_dataclass
from train.eddm.config import EDDMConfig
from train.mdlm.config import TrainMDLMConfig
from train.plan.blueprint import eddm_blueprint, mdlm_blueprint
from train.plan.config import PlanConfig, flatten_overrides
from train.plan.options import GIB, Strategy, list_options, predict_memory, recommend, share_batch, step_flops
from train.plan.plan import plan
from train.tiny.config import TinyBaseConfig
from train.tiny.untrained import write_architectures

Configs = tuple[PlanConfig, EDDMConfig, TrainMDLMConfig]


def compose_preset(preset: str, *overrides: str, run: Path = Path("RUN")) -> Configs:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        if preset == "tiny":
            base = to_dataclass(compose("train_tiny_base", [f"run_dir={run}"]), TinyBaseConfig)
            write_architectures(base, Run(run))
        chosen = [f"preset={preset}", f"run_dir={run}"]
        return (
            to_dataclass(compose("plan", [chosen[0], *overrides]), PlanConfig),
            to_dataclass(compose("train_eddm", chosen), EDDMConfig),
            to_dataclass(compose("train_mdlm", chosen), TrainMDLMConfig),
        )


@pytest.fixture(scope="module")
def paper() -> Configs:
    return compose_preset("paper")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Configs:
    return compose_preset("tiny", "gpus=1", run=tmp_path_factory.mktemp("run"))


def test_the_papers_run_as_one_document(paper: Configs, capsys: pytest.CaptureFixture[str]) -> None:
    plan(replace(paper[0], json=True), *paper[1:])
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    document = json.loads(printed)
    mdlm, eddm = document["parts"]["mdlm"], document["parts"]["eddm"]
    assert eddm["steps_per_epoch"] == -(-280_655 // 16) == eddm["steps"]
    assert mdlm["steps"] == 200 and mdlm["batch"] == 8
    assert mdlm["parameters"]["trainable"] == pytest.approx(32e6, rel=0.3)  # LoRA, [SEG], projection, DAM, decoder
    assert eddm["parameters"]["total"] == pytest.approx(8.1e9, rel=0.01)
    assert {option["strategy"] for option in mdlm["options"]} == {"ddp", "zero2", "zero3", "qlora"}
    assert len(mdlm["options"]) == len(eddm["options"]) == 4 * 2 * 2
    assert mdlm["recommended"]["one"]["strategy"] == "ddp" and mdlm["recommended"]["one"]["fits"]
    assert mdlm["measured"] is None


def test_the_table_marks_what_fits(paper: Configs, capsys: pytest.CaptureFixture[str]) -> None:
    plan(replace(paper[0], gpu_gib=13.0), *paper[1:])
    text = capsys.readouterr().out
    assert "take QLoRA with gradient checkpointing" in text
    assert max(map(len, text.splitlines())) <= 150
    plan(replace(paper[0], gpu_gib=4.0), *paper[1:])
    text = capsys.readouterr().out
    assert text.count("nothing fits") == 4 and "→" not in text


def test_each_option_moves_what_it_should(paper: Configs) -> None:
    blueprint = mdlm_blueprint(paper[2])
    options = {(o.strategy, o.checkpointing, o.tiles): o for o in list_options(blueprint, paper[0])}
    ddp, zero2, zero3, qlora = (
        options[strategy, False, "one"].memory for strategy in ("ddp", "zero2", "zero3", "qlora")
    )
    assert zero2.weights == ddp.weights and zero2.optimizer < 0.55 * ddp.optimizer
    assert zero3.weights == ddp.weights // 8
    assert ddp.weights - qlora.weights == pytest.approx(blueprint.quantizable * 1.484, rel=0.001)
    checkpointed, several = options["ddp", True, "one"], options["ddp", False, "several"]
    assert checkpointed.memory.activations < 0.2 * ddp.activations
    assert several.length == 2928 + 128 and several.memory.activations > 4 * ddp.activations
    assert checkpointed.step_tflops > options["ddp", False, "one"].step_tflops
    assert ddp.weights / GIB == pytest.approx((7_063_451_648 * 2 + 642e6 * 4 + 32e6 * 4) / GIB, rel=0.01)


@pytest.mark.parametrize("fused", [False, True])
def test_what_sams_attention_needs_for_a_moment(paper: Configs, fused: bool) -> None:
    blueprint = mdlm_blueprint(paper[2])
    assert blueprint.segmenter is not None and blueprint.segmenter.fused
    blueprint = replace(blueprint, segmenter=replace(blueprint.segmenter, fused=fused))
    alone = predict_memory(blueprint, Strategy.ddp, gpus=1, rows=8, length=704, tiles="one", checkpointing=False)
    cells, heads, width = 4096, 16, 1280
    scores = heads * cells**2 * 10  # softmax in float32 beside the scores in bfloat16
    operands = cells * 2 * (4 * (width + heads * 128) + 2 * heads * 128 + 2 * width)  # with 64 + 64 relative positions
    assert alone.buffers / GIB == pytest.approx(8 * (operands if fused else scores) / GIB, rel=0.05)


def test_operations_of_a_step(paper: Configs) -> None:
    blueprint = mdlm_blueprint(paper[2])
    one = step_flops(blueprint, length=700, tiles="one", checkpointing=False) / 8e12
    assert one == pytest.approx(2 * 9.3 + 5.96 + 0.36, rel=0.05)  # language model twice, SAM and CLIP once
    assert step_flops(blueprint, length=700, tiles="one", checkpointing=True) / 8e12 - one == pytest.approx(
        9.3, rel=0.05
    )


def test_the_batch_stays_whatever_the_number_of_gpus(paper: Configs) -> None:
    eddm, mdlm = eddm_blueprint(paper[1], slices=9), mdlm_blueprint(paper[2])
    assert [share_batch(eddm, gpus) for gpus in (1, 2, 4, 8, 16)] == [(4, 4), (4, 2), (4, 1), (2, 1), (1, 1)]
    assert share_batch(mdlm, 4) == (2, 1)
    with pytest.raises(UserError, match=r"batch of 8 cannot be shared equally among gpus=3.*\[1, 2, 4, 8\]"):
        share_batch(mdlm, 3)
    with pytest.raises(UserError, match="impossible"):
        share_batch(replace(mdlm, batch=0), 1)


@pytest.mark.parametrize("preset", ["tiny", "minicpm-v-4.6"])
def test_the_other_presets(preset: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config, eddm, mdlm = compose_preset(preset, "gpus=1", "gpu_gib=24", run=tmp_path)
    parts = plan(config, eddm, mdlm)
    assert "fits" in capsys.readouterr().out
    assert recommend(parts[0].options, parts[0].blueprint.configured_tiles)
    expected = {"tiny": 2.26e6, "minicpm-v-4.6": 1.3e9}[preset]
    assert parts[0].blueprint.total == pytest.approx(expected, rel=0.02)


def test_a_real_step_of_the_tiny_preset_beside_its_prediction(
    tiny: Configs, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = plan(replace(tiny[0], measure=True, text_tokens=40), *tiny[1:])
    measured = parts[1].measured
    assert measured is not None
    assert measured["predicted_gib"] == pytest.approx(measured["measured_gib"], rel=0.25)
    assert "predicted" in capsys.readouterr().out


def test_measuring_the_paper_needs_a_gpu(paper: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=r"needs a GPU for 7\.7 billion"):
        plan(replace(paper[0], measure=True), *paper[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gpus": 0}, "gpus=0"),
        ({"gpu_gib": -1.0}, "gpu_gib=-1.0"),
        ({"utilisation": 1.5}, "utilisation=1.5"),
        ({"margin": -0.1}, "margin=-0.1"),
        ({"eddm_rows": 0}, "eddm_rows=0"),
        ({"mdlm_masks": {}}, "mdlm_masks"),
        ({"mdlm_masks": {"bsdata": 0}}, "counts no mask"),
        ({"text_tokens": 4000}, "exceeds optim.max_length=2048"),
    ],
)
def test_bad_settings(paper: Configs, change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(replace(paper[0], **change), *paper[1:])


def test_an_unknown_model_is_said(paper: Configs) -> None:
    mdlm = replace(paper[2], mdlm=replace(paper[2].mdlm, llava=replace(paper[2].mdlm.llava, path="some/thing")))
    with pytest.raises(UserError, match="sizes of 'some/thing' are not known"):
        plan(paper[0], paper[1], mdlm)


def test_overrides_become_words() -> None:
    values = {"loop": {"batch_size": 4, "optim": {"lr": 0.1}}, "base": None}
    assert flatten_overrides(values) == ["loop.batch_size=4", "loop.optim.lr=0.1", "base=null"]
