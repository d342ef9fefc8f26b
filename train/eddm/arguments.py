"""From EDDM's configuration to ms-swift's arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train.eddm.config import EDDMConfig, Quantize, plan_batch, zero_stage


def to_sft_arguments(
    config: EDDMConfig, *, model: str, dataset: Path, output: Path, ranks: int = 1, resume_from: Path | None = None
) -> dict[str, Any]:
    """Maps the configuration to keyword arguments of ms-swift's `SftArguments`.

    Args:
        config: The configuration.
        model: Folder of the base.
        dataset: JSONL in ms-swift's format.
        output: Folder for checkpoints.
        ranks: Processes that train together.
        resume_from: Checkpoint to go on from.

    Raises:
        UserError: If the batch cannot be spread over the ranks.
    """
    optim, lora, batch = config.optim, config.lora, plan_batch(config.optim, ranks)
    arguments: dict[str, Any] = {
        "model": model,
        "model_type": config.model.model_type,
        "template": config.model.template,
        "torch_dtype": config.model.torch_dtype,
        "bf16": config.model.torch_dtype == "bfloat16",
        "fp16": config.model.torch_dtype == "float16",
        "attn_impl": config.model.attn_impl,
        "check_model": False,
        "dataset": [str(dataset)],
        "load_from_cache_file": False,
        "split_dataset_ratio": 0.0,
        "strict": True,
        "max_length": optim.max_length,
        "tuner_type": "lora",
        "lora_rank": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "freeze_vit": lora.freeze_vit,
        "freeze_aligner": lora.freeze_aligner,
        "freeze_llm": False,
        "learning_rate": optim.lr,
        "num_train_epochs": optim.epochs,
        "max_steps": optim.max_steps,
        "per_device_train_batch_size": batch.rows,
        "gradient_accumulation_steps": batch.accumulation,
        "lr_scheduler_type": optim.schedule,
        "warmup_ratio": optim.warmup_ratio,
        "weight_decay": optim.weight_decay,
        "adam_beta2": optim.beta2,
        "gradient_checkpointing": optim.gradient_checkpointing,
        "vit_gradient_checkpointing": optim.gradient_checkpointing,
        "dataloader_num_workers": optim.workers,
        "dataloader_persistent_workers": False,  # their seed is drawn once a start, not once an epoch: no exact resume
        "dataset_num_proc": 1,
        "output_dir": str(output),
        "add_version": False,
        "save_strategy": "steps",
        "save_steps": optim.save_steps,
        "eval_strategy": "no",
        "logging_steps": optim.log_steps,
        "report_to": ["none"],  # `train.eddm.watch` keeps the log
        "disable_tqdm": True,
        "seed": config.seed,
        "data_seed": config.seed,
    }
    if optim.use_cpu and optim.deepspeed is None:
        # DeepSpeed is ignored under use_cpu; without a GPU it takes the CPU by itself
        arguments["use_cpu"] = True
    if optim.use_cpu and ranks > 1:
        arguments["ddp_backend"] = "gloo"  # without it the ranks do not synchronise, silently
    if optim.deepspeed:
        arguments["deepspeed"] = optim.deepspeed
        if optim.use_cpu:
            arguments["accelerator_config"] = {"dispatch_batches": False, "use_configured_state": True}
    if lora.target_regex:
        arguments["target_regex"] = lora.target_regex
    if lora.quantize is Quantize.nf4:
        compute = lora.compute_dtype or config.model.torch_dtype
        arguments |= {"quant_method": "bnb", "quant_bits": 4, "bnb_4bit_quant_type": "nf4"}
        arguments["bnb_4bit_compute_dtype"] = compute
        if optim.deepspeed and zero_stage(optim.deepspeed) == 3:
            arguments["bnb_4bit_quant_storage"] = compute  # shards need one dtype
    if resume_from is not None:
        arguments["resume_from_checkpoint"] = str(resume_from)
    return arguments
