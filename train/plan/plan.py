"""Plans the two trainings of a preset."""

from __future__ import annotations

import json
from dataclasses import replace

from data.errors import UserError
from eval.tables.published import load_published
from train.eddm.config import EDDMConfig
from train.mdlm.config import TrainMDLMConfig
from train.plan.blueprint import Blueprint, eddm_blueprint, mdlm_blueprint
from train.plan.config import PlanConfig, check_plan
from train.plan.feeding import time_image
from train.plan.measure import check_measurable, measure_mdlm
from train.plan.options import list_options, share_batch
from train.plan.report import PartPlan, compose_document, compose_text
from train.plan.weights import compose_checkpoints, list_checkpoints


def plan(config: PlanConfig, eddm: EDDMConfig, mdlm: TrainMDLMConfig) -> list[PartPlan]:
    """Predicts memory and time of both trainings, times the input of one here, and prints it with checkpoints."""
    parts = plan_parts(config, eddm, mdlm)
    parts[1] = replace(parts[1], image_seconds=time_image(mdlm))
    checkpoints = list_checkpoints(eddm, mdlm)
    if config.json:
        document = compose_document(config, parts) | {"checkpoints": checkpoints}
        print(json.dumps(document, ensure_ascii=False), flush=True)
    else:
        print("\n".join([compose_text(config, parts), "", *compose_checkpoints(checkpoints)]), flush=True)
    return parts


def plan_parts(config: PlanConfig, eddm: EDDMConfig, mdlm: TrainMDLMConfig) -> list[PartPlan]:
    """Predicts memory and time of both trainings: EDDM's, then the MDLM's.

    Args:
        config: What to plan for.
        eddm: The EDDM's training, as its command composes it.
        mdlm: The MDLM's training, likewise.

    Raises:
        UserError: If a setting makes no sense, a model's sizes are not known, or the batch cannot be shared.
    """
    check_plan(config)
    drafts = [draft_eddm(config, eddm), draft_mdlm(config, mdlm)]
    for blueprint, _, _ in drafts:
        share_batch(blueprint, config.gpus)
    if config.measure:
        check_measurable(drafts[1][0])
    parts = [complete(config, *draft) for draft in drafts]
    if config.measure:
        measured = measure_mdlm(mdlm, parts[1].blueprint, text_tokens=config.text_tokens)
        parts[1] = replace(parts[1], measured=measured)
    return parts


def draft_eddm(config: PlanConfig, eddm: EDDMConfig) -> tuple[Blueprint, int, str]:
    """The EDDM's part before anything is measured: blueprint, rows of an epoch, and where their number comes from."""
    blueprint = eddm_blueprint(eddm, slices=config.slices)
    if blueprint.image_tokens["one"] + config.text_tokens > eddm.optim.max_length:
        raise UserError(
            f"EDDM: a row of {blueprint.image_tokens['one']} image tokens and text_tokens={config.text_tokens} exceeds "
            f"optim.max_length={eddm.optim.max_length}. Raise it, or lower text_tokens."
        )
    samples = config.eddm_rows or sum(
        int(count) for count in load_published()["eiad.1"].rows["total"].values.values() if count
    )
    return blueprint, samples, "rows, eddm_rows" if config.eddm_rows else "rows, DDQA as published"


def draft_mdlm(config: PlanConfig, mdlm: TrainMDLMConfig) -> tuple[Blueprint, int, str]:
    """The MDLM's part, likewise."""
    samples = sum(config.mdlm_masks.values())
    if samples < 1:
        raise UserError("mdlm_masks counts no mask: give the number of masks of each dataset.")
    source = f"masks of {', '.join(name for name, count in config.mdlm_masks.items() if count)}"
    return mdlm_blueprint(mdlm), samples, source


def complete(config: PlanConfig, blueprint: Blueprint, samples: int, source: str) -> PartPlan:
    """Measures the steps of all options of a part."""
    return PartPlan(blueprint=blueprint, options=list_options(blueprint, config), samples=samples, samples_from=source)
