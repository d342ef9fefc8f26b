"""Both parts of every preset, composed as their own commands compose them."""

import json
from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir

from data.errors import UserError
from scripts.command import CONFIGS, to_dataclass
from train.eddm.config import EDDMConfig
from train.mdlm.config import TrainMDLMConfig
from train.plan.blueprint import eddm_blueprint, mdlm_blueprint
from train.plan.config import PlanConfig, flatten_overrides
from train.plan.footprint import Footprint
from train.plan.options import GIB, Strategy, list_options, predict_memory, recommend, share_batch
from train.plan.plan import complete, draft_eddm, plan, plan_parts
from train.plan.report import PartPlan, compose_document, compose_text

STRATEGIES = (Strategy.ddp, Strategy.zero2, Strategy.zero3, Strategy.qlora)
Configs = tuple[PlanConfig, EDDMConfig, TrainMDLMConfig]


def compose_preset(preset: str, *overrides: str) -> Configs:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        chosen = [f"preset={preset}", "run_dir=RUN"]
        return (
            to_dataclass(compose("plan", [chosen[0], *overrides]), PlanConfig),
            to_dataclass(compose("train_eddm", chosen), EDDMConfig),
            to_dataclass(compose("train_mdlm", chosen), TrainMDLMConfig),
        )


@pytest.fixture(scope="module")
def paper() -> Configs:
    return compose_preset("paper")


@pytest.fixture(scope="module")
def tiny() -> Configs:
    return compose_preset("tiny", "gpus=1")


@pytest.fixture(scope="module")
def tiny_parts(tiny: Configs) -> list[PartPlan]:
    return plan(replace(tiny[0], measure=True, text_tokens=40), *tiny[1:])


@pytest.mark.slow  # half a minute: eight steps of seven billion parameters
def test_the_papers_run_as_one_document(paper: Configs, capsys: pytest.CaptureFixture[str]) -> None:
    parts = plan(replace(paper[0], json=True), *paper[1:])
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    document = json.loads(printed)
    mdlm, eddm = document["parts"]["mdlm"], document["parts"]["eddm"]
    assert eddm["steps_per_epoch"] == -(-280_655 // 16) == eddm["steps"]
    assert mdlm["steps"] == 200 and mdlm["batch"] == 8
    assert mdlm["parameters"]["trainable"] == pytest.approx(32e6, rel=0.3)  # LoRA, [SEG], projection, DAM, decoder
    assert eddm["parameters"]["total"] == pytest.approx(8.1e9, rel=0.01)
    assert len(mdlm["options"]) == len(eddm["options"]) == 4 * 2 * 2
    assert mdlm["recommended"]["one"]["strategy"] == "ddp" and mdlm["recommended"]["one"]["fits"]
    options = {(o.strategy, o.checkpointing, o.tiles): o for o in parts[1].options}
    one, several = options["ddp", False, "one"], options["ddp", False, "several"]
    assert several.length == 2928 + 128 and several.memory.activations > 4 * one.memory.activations
    assert one.memory.weights / GIB == pytest.approx((7_063_451_648 * 2 + 642e6 * 4 + 32e6 * 4) / GIB, rel=0.01)


def test_the_tiny_run_as_one_document(tiny: Configs, tiny_parts: list[PartPlan]) -> None:
    document = json.loads(json.dumps(compose_document(tiny[0], tiny_parts)))
    mdlm = document["parts"]["mdlm"]
    assert {option["strategy"] for option in mdlm["options"]} == {"ddp", "zero2", "zero3", "qlora"}
    assert len(mdlm["options"]) == 4 * 2 * 2 and len(document["parts"]["eddm"]["options"]) == 4 * 2  # one tile alone
    assert mdlm["measured"]["predicted_gib"] > 0 and document["parts"]["eddm"]["measured"] is None
    for option in mdlm["options"]:
        parts = [option[f"{name}_gib"] for name in ("weights", "gradients", "optimizer", "activations", "buffers")]
        assert option["peak_gib"] == pytest.approx(sum(parts), abs=0.005)


def test_the_table_marks_what_fits(tiny: Configs, tiny_parts: list[PartPlan]) -> None:
    text = compose_text(tiny[0], tiny_parts)
    assert text.count("→") == 3 and text.count("take DDP") == 3
    assert max(map(len, text.splitlines())) <= 150
    only = [
        replace(part, options=[replace(o, fits=o.strategy == "qlora" and o.checkpointing) for o in part.options])
        for part in tiny_parts
    ]
    assert compose_text(tiny[0], only).count("take QLoRA with gradient checkpointing") == 3
    none = [replace(part, options=[replace(o, fits=False) for o in part.options]) for part in tiny_parts]
    text = compose_text(tiny[0], none)
    assert text.count("nothing fits") == 3 and "→" not in text


def test_each_strategy_moves_what_it_should(paper: Configs) -> None:
    blueprint = mdlm_blueprint(paper[2])
    step = Footprint(saved=25 * GIB, peak=26 * GIB, flops=1)
    ddp, zero2, zero3, qlora = (predict_memory(blueprint, strategy, step, gpus=8) for strategy in STRATEGIES)
    assert zero2.weights == ddp.weights and zero2.optimizer < 0.55 * ddp.optimizer
    assert zero3.weights == ddp.weights // 8 and zero3.buffers > ddp.buffers
    assert ddp.weights - qlora.weights == pytest.approx(blueprint.quantizable * 1.484, rel=0.001)
    assert ddp.activations == qlora.activations == 25 * GIB
    alone = predict_memory(blueprint, Strategy.ddp, step, gpus=1)
    assert alone.peak == alone.weights + alone.optimizer + 26 * GIB


def test_the_batch_stays_whatever_the_number_of_gpus(paper: Configs) -> None:
    eddm, mdlm = eddm_blueprint(paper[1], slices=9), mdlm_blueprint(paper[2])
    assert [share_batch(eddm, gpus) for gpus in (1, 2, 4, 8, 16)] == [(4, 4), (4, 2), (4, 1), (2, 1), (1, 1)]
    assert share_batch(mdlm, 4) == (2, 1)
    with pytest.raises(UserError, match=r"batch of 8 cannot be shared equally among gpus=3.*\[1, 2, 4, 8\]"):
        share_batch(mdlm, 3)
    with pytest.raises(UserError, match="impossible"):
        share_batch(replace(mdlm, batch=0), 1)


def test_what_is_told_fits(tiny: Configs, tiny_parts: list[PartPlan]) -> None:
    assert tiny_parts[0].blueprint.total == pytest.approx(2.26e6, rel=0.02)
    smaller = replace(tiny[0], gpu_gib=0.05, overhead_gib=0)
    assert recommend(tiny_parts[1].options, "one")
    assert not any(option.fits for option in list_options(tiny_parts[1].blueprint, replace(smaller, gpu_gib=0.01)))


@pytest.mark.slow
def test_the_native_successor(paper: Configs) -> None:
    config, eddm, _ = compose_preset("minicpm-v-4.6", "gpus=4")
    config = replace(config, slices=0)
    part = complete(config, *draft_eddm(config, eddm))
    assert part.blueprint.total == pytest.approx(1.3e9, rel=0.02)
    plain, checkpointed = (option.memory.activations for option in part.options[:2])
    assert 0 < checkpointed < 0.5 * plain


@pytest.mark.slow
def test_what_others_ask_for_is_predicted_without_timing_images(tiny: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[TrainMDLMConfig] = []

    def time_image(config: TrainMDLMConfig) -> float:
        timed.append(config)
        return 0.1

    monkeypatch.setattr("train.plan.plan.time_image", time_image)
    config = replace(tiny[0], text_tokens=40, json=True)
    assert [part.image_seconds for part in plan_parts(config, *tiny[1:])] == [None, None] and not timed
    assert [part.image_seconds for part in plan(config, *tiny[1:])] == [None, 0.1] and len(timed) == 1


def test_a_real_step_of_the_tiny_preset_beside_its_prediction(tiny: Configs, tiny_parts: list[PartPlan]) -> None:
    measured = tiny_parts[1].measured
    assert measured is not None
    assert measured["predicted_gib"] == pytest.approx(measured["measured_gib"], rel=0.05)
    assert "predicted" in compose_text(tiny[0], tiny_parts)


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
