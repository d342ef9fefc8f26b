"""Which stages make a run, and what each needs: the whole of EIAD on one page."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from data.content import hash_samples
from data.errors import UserError
from data.files import hash_value
from data.source import DataConfig, load_samples
from models.weights.shipped import TinyBase, check_base, name_shipped
from scripts.command import compose_settings
from scripts.pipeline.stages import Stage


@dataclass(kw_only=True, slots=True)
class RunAllConfig:
    """Settings that all stages share.

    Attributes:
        preset: Preset of every stage.
        base: Which bases the tiny preset starts from.
        run_dir: The run directory.
        data: Training and zero-shot sources; every stage gets the same file of `configs/data`.
        seed: Seed of every stage.
        jobs: Stages side by side; each runs on one thread.
        extra: Arguments for single stages, `<stage>: <key>=<value>`.
        trust_remote_code: Allows code that comes with EDDM's base in every stage that loads it; `extra` holds its pin,
            `eddm: model.revision=<commit>`.
        dry_run: List the stages and what each needs, and run nothing.
    """

    preset: str
    run_dir: str
    data: DataConfig
    base: TinyBase = TinyBase.shipped
    seed: int = 0
    jobs: int = 2
    extra: list[str] = field(default_factory=list)
    trust_remote_code: bool = False
    dry_run: bool = False


HERE = "RUN"  # stands for the run directory in settings, so that it may be spelled otherwise, or moved
MDLM_BASE = ["mdlm/base/llava", "mdlm/base/sam.safetensors", "mdlm/base/heads.safetensors"]


def plan_stages(config: RunAllConfig) -> list[Stage]:
    """Lists the stages in an order that respects their needs, and what they leave behind.

    With base=train, EDDM's vision takes longest and needs no data, so it starts first, and its language beside it;
    everything that does not wait for EDDM follows.

    Raises:
        UserError: If `extra` names an unknown stage, or another preset than the tiny one is to make its bases.
    """
    check_base(config.base, config.preset)
    made_here = config.base is TinyBase.train
    base = ["base=train"] if made_here else []
    write, read = f"run_dir={config.run_dir}", f"run={config.run_dir}"
    preset, data, seed = f"preset={config.preset}", f"data={config.data.name}", f"seed={config.seed}"
    trust = ["trust_remote_code=true"] if config.trust_remote_code else []
    train_eddm = ["scripts.train_eddm", write, preset, seed, *base, *(f"model.{word}" for word in trust)]
    train_mdlm = ["scripts.train_mdlm", write, preset, data, seed, *base]
    train_base = ["scripts.train_tiny_base", write, seed]
    ask = ["scripts.build_ddqa", write, preset, data, seed]
    describe = ["scripts.describe", read, preset, data, *trust]
    # At the paper's scale EDDM describes the images that training will draw, not all that it could have drawn.
    drawn = [] if config.preset == "tiny" else ["only=drawn", f"++mdlm.seed={config.seed}"]
    evaluate = ["scripts.eval_segmentation", read, preset, data]
    generated = config.data.name == "synthetic"
    made = ["data"] if generated else []

    data_stage = [Stage("data", ["scripts.make_synthetic", write, seed], [], ["data"])] if generated else []
    if made_here:
        stages = [
            Stage("eddm-vision", [*train_base, "part=vision"]),
            Stage("eddm-language", [*train_base, "part=language"]),
            *data_stage,
            Stage("mdlm-base", [*train_base, "part=mdlm"], [], MDLM_BASE),
            Stage("eddm-base", [*train_base, "part=eddm"], ["eddm-vision", "eddm-language"], ["eddm/base"]),
        ]
    else:
        stages = data_stage
    eddm_base, mdlm_base = (["eddm-base"], ["mdlm-base"]) if made_here else ([], [])
    stages += [
        Stage("ddqa", [*ask, "part=train"], made, ["ddqa/train.jsonl"]),
        Stage("exam", [*ask, "part=zero_shot"], [*made, "ddqa"], ["ddqa/zero_shot.jsonl"]),
        Stage("eddm", train_eddm, ["ddqa", *eddm_base], ["eddm/adapter", "eddm/config.json"]),
        Stage("mdlm-without-eddm", [*train_mdlm, "description=fixed"], [*made, *mdlm_base], _mdlm("fixed")),
        Stage("describe-train", [*describe, "part=train", *drawn], ["eddm"], ["descriptions/train.jsonl"]),
        Stage("mdlm", [*train_mdlm, "description=eddm"], ["describe-train", *mdlm_base], _mdlm("eddm")),
        Stage("eval-eddm", ["scripts.eval_eddm", read, "part=zero_shot", *trust], ["eddm", "exam"], ["eval/eddm.json"]),
        Stage("describe-zero-shot", [*describe, "part=zero_shot"], ["eddm"], ["descriptions/zero_shot.jsonl"]),
        Stage("eval-without-eddm", [*evaluate, "description=fixed"], ["mdlm-without-eddm"], _result("without_eddm")),
        Stage("eval-with-eddm", [*evaluate, "description=eddm"], ["mdlm", "describe-zero-shot"], _result("with_eddm")),
    ]
    last = ["eval-eddm", "eval-without-eddm", "eval-with-eddm"]
    if generated:  # sound images of seen products; nobody's own product is at hand
        seen = f"normals={config.run_dir}/data/seen/*/test/good/00*.png"
        calibrate = ["scripts.calibrate", read, seen, "false_alarms=0.05", *trust]
        stages.append(Stage("calibrate", calibrate, ["mdlm"], ["calibration.json"]))
        last.append("calibrate")
        for text in ("oracle", "shuffled"):
            name = f"eval-decoys-{text}"
            outputs = _result(f"{text}_decoys")
            stages.append(Stage(name, [*evaluate, f"description={text}", "subset=decoys"], ["mdlm"], outputs))
            last.append(name)
    stages.append(Stage("report", ["scripts.report", read], last, ["report.html", "report.md", "results.json"]))
    return _add_extra(stages, config.extra)


def with_settings(config: RunAllConfig) -> list[Stage]:
    """The stages with the settings that their command lines compose and the content of the data that they read.

    Raises:
        UserError: If `extra` names an unknown stage or setting, or data that are not generated are not there.
    """
    content = "" if config.data.name == "synthetic" else hash_data(config.data)
    moved = plan_stages(replace(config, run_dir=HERE))
    return [
        replace(stage, settings={**_compose(same), "content of the data": content if _reads_data(same) else ""})
        for stage, same in zip(plan_stages(config), moved, strict=True)
    ]


def hash_data(data: DataConfig) -> str:
    """One hash over the images and masks of both sides, their ids and their defects.

    Raises:
        UserError: If a dataset is missing.
    """
    samples = load_samples([*data.train, *data.zero_shot]).samples
    return hash_value([(s.id, s.defect, digest) for s, digest in zip(samples, hash_samples(samples), strict=True)])


def _compose(stage: Stage) -> dict[str, Any]:
    """The settings of a stage; where its data lie is none of them, what ships with the code is named by content."""
    module, *words = stage.arguments
    settings = compose_settings(module.removeprefix("scripts."), words)
    for source in [source for part in ("train", "zero_shot") for source in (settings.get("data") or {}).get(part, [])]:
        source.pop("root")
    return name_bases(settings)


def name_bases(settings: Any) -> Any:
    """Settings with the names of checkpoints that ship with the code, which hold their hashes, instead of paths."""
    if isinstance(settings, dict):
        return {key: name_bases(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [name_bases(value) for value in settings]
    return name_shipped(settings) or settings if isinstance(settings, str) and settings.startswith("/") else settings


def _reads_data(stage: Stage) -> bool:
    return any(word.startswith("data=") for word in stage.arguments)


def _mdlm(name: str) -> list[str]:
    return [f"mdlm/{name}/{part}" for part in ("adapter", "heads.safetensors", "tokenizer", "manifest.json")]


def _result(name: str) -> list[str]:
    return [f"eval/segmentation_{name}.json"]


def _add_extra(stages: list[Stage], extra: list[str]) -> list[Stage]:
    arguments: dict[str, list[str]] = {}
    names = {stage.name for stage in stages}
    for entry in extra:
        name, separator, argument = (part.strip() for part in entry.partition(":"))
        if not separator or name not in names:
            raise UserError(f"extra: '{entry}' is not '<stage>: <key>=<value>'. Stages: {', '.join(sorted(names))}.")
        arguments.setdefault(name, []).append(argument)
    return [replace(stage, arguments=[*stage.arguments, *arguments.get(stage.name, [])]) for stage in stages]
