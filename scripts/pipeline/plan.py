"""Which stages make a run, and what each needs: the whole of EIAD on one page."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from data.errors import UserError
from data.source import DataConfig
from scripts.pipeline.stages import Stage


@dataclass(kw_only=True, slots=True)
class RunAllConfig:
    """Settings that all stages share.

    Attributes:
        preset: Preset of every stage.
        run_dir: The run directory.
        data: Training and zero-shot sources; every stage gets the same file of `configs/data`.
        seed: Seed of every stage.
        jobs: Stages side by side; each runs on one thread.
        extra: Arguments for single stages, `<stage>: <key>=<value>`.
        dry_run: List the stages and what each needs, and run nothing.
    """

    preset: str
    run_dir: str
    data: DataConfig
    seed: int = 0
    jobs: int = 2
    extra: list[str] = field(default_factory=list)
    dry_run: bool = False


def plan_stages(config: RunAllConfig) -> list[Stage]:
    """Lists the stages in an order that respects their needs.

    EDDM's vision takes longest and needs no data, so it starts first, and its language beside it; everything that does
    not wait for EDDM follows.

    Raises:
        UserError: If `extra` names an unknown stage.
    """
    write, read = f"run_dir={config.run_dir}", f"run={config.run_dir}"
    preset, data, seed = f"preset={config.preset}", f"data={config.data.name}", f"seed={config.seed}"
    train_eddm = ["scripts.train_eddm", write, preset, seed]
    train_mdlm = ["scripts.train_mdlm", write, preset, data, seed]
    train_base = ["scripts.train_tiny_base", write, seed]
    ask = ["scripts.build_ddqa", write, preset, data, seed]
    describe = ["scripts.describe", read, preset, data]
    evaluate = ["scripts.eval_segmentation", read, preset, data]
    generated = config.data.name == "synthetic"
    made = ["data"] if generated else []

    data_stage = [Stage("data", ["scripts.make_synthetic", write, seed])] if generated else []
    if config.preset == "tiny":
        stages = [
            Stage("eddm-vision", [*train_base, "part=vision"]),
            Stage("eddm-language", [*train_base, "part=language"]),
            *data_stage,
            Stage("mdlm-base", [*train_base, "part=mdlm"]),
            Stage("eddm-base", [*train_base, "part=eddm"], ["eddm-vision", "eddm-language"]),
        ]
    else:
        stages = data_stage
    eddm_base, mdlm_base = (["eddm-base"], ["mdlm-base"]) if config.preset == "tiny" else ([], [])
    stages += [
        Stage("ddqa", [*ask, "part=train"], made),
        Stage("exam", [*ask, "part=zero_shot"], [*made, "ddqa"]),
        Stage("eddm", train_eddm, ["ddqa", *eddm_base]),
        Stage("mdlm-without-eddm", [*train_mdlm, "description=fixed"], [*made, *mdlm_base]),
        Stage("describe-train", [*describe, "part=train"], ["eddm"]),
        Stage("mdlm", [*train_mdlm, "description=eddm"], ["describe-train", *mdlm_base]),
        Stage("eval-eddm", ["scripts.eval_eddm", read, "part=zero_shot"], ["eddm", "exam"]),
        Stage("describe-zero-shot", [*describe, "part=zero_shot"], ["eddm"]),
        Stage("eval-without-eddm", [*evaluate, "description=fixed"], ["mdlm-without-eddm"]),
        Stage("eval-with-eddm", [*evaluate, "description=eddm"], ["mdlm", "describe-zero-shot"]),
    ]
    last = ["eval-eddm", "eval-without-eddm", "eval-with-eddm"]
    if generated:
        for text in ("oracle", "shuffled"):
            name = f"eval-decoys-{text}"
            stages.append(Stage(name, [*evaluate, f"description={text}", "subset=decoys"], ["mdlm"]))
            last.append(name)
    stages.append(Stage("report", ["scripts.report", read], last))
    return _add_extra(stages, config.extra)


def _add_extra(stages: list[Stage], extra: list[str]) -> list[Stage]:
    arguments: dict[str, list[str]] = {}
    names = {stage.name for stage in stages}
    for entry in extra:
        name, separator, argument = (part.strip() for part in entry.partition(":"))
        if not separator or name not in names:
            raise UserError(f"extra: '{entry}' is not '<stage>: <key>=<value>'. Stages: {', '.join(sorted(names))}.")
        arguments.setdefault(name, []).append(argument)
    return [replace(stage, arguments=[*stage.arguments, *arguments.get(stage.name, [])]) for stage in stages]
