"""Trains EDDM: LoRA on DDQA through ms-swift, as the paper does (Sec. IV-B: SWIFT, rank 8, alpha 32).

Without a pre-trained checkpoint (preset tiny) a small base of the same architecture is trained in full first.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import hash_file, hash_value, make_dir, read_json, read_jsonl, write_json, write_jsonl
from data.run import Run
from models.chat_swift import remote_code
from train.eddm_base.build import Part, fast_math, train_base, train_part
from train.eddm_config import EDDMConfig, Stage, check_model
from train.image_cache import cache_images
from train.progress import LogRows, talking

log = logging.getLogger(__name__)
IMAGE_TAG = "<image>"


def train_eddm(config: EDDMConfig) -> None:
    """Trains the base if there is none, then the adapter; skips what is finished, resumes what was interrupted.

    Raises:
        UserError: If the data are unusable or the configuration contradicts itself.
    """
    run = Run(Path(config.run_dir))
    check_model(config)
    make_dir(run.eddm)
    if config.stage in (Stage.language, Stage.vision, Stage.base):
        _ensure_base(config, run)
        return
    source = Path(config.questions) if config.questions else run.ddqa / "train.jsonl"
    rows = [row for row in check_ddqa(source) if row.get("category") not in config.hold_out]
    base = _ensure_base(config, run) if not config.model.id else None
    wanted = hash_value([asdict(config) | {"run_dir": "", "questions": "", "stage": ""}, hash_file(source)])
    path = run.eddm / "config.json"
    if path.is_file() and read_json(path).get("fingerprint") == wanted:
        log.info("EDDM: %s is already trained with this configuration and data", run.eddm)
        return
    path.unlink(missing_ok=True)
    _train_adapter(config, run, base, rows, wanted)
    defects = sorted({row["defect"] for row in rows if row.get("defect")})
    trained = {
        "base": "base"
        if base
        else str(Path(config.model.id).resolve())
        if Path(config.model.id).is_dir()
        else config.model.id,
        "local": base is not None or Path(config.model.id).is_dir(),
        "defects": defects,
        "use_cpu": config.optim.use_cpu,
        **{key: value for key, value in asdict(config.model).items() if key != "id"},
    }
    write_json(path, {"fingerprint": wanted, "trained": trained, "config": asdict(config)})
    log.info("EDDM: trained in %s", run.eddm)


def check_ddqa(path: Path) -> list[dict[str, Any]]:
    """Reads a DDQA file and checks every row, because ms-swift drops or replaces bad ones silently.

    Raises:
        UserError: If the file is missing or empty, or a row has no question and answer, misses an image, or has
            another number of image tags than images.
    """
    rows = read_jsonl(path)
    if not rows:
        raise UserError(f"No questions in {path}. Build them first: python -m scripts.build_ddqa")
    present: dict[str, bool] = {}
    for number, row in enumerate(rows, 1):
        where = f"{path}, line {number}"
        messages, images = row.get("messages"), row.get("images")
        if not isinstance(messages, list) or [m.get("role") for m in messages] != ["user", "assistant"]:
            raise UserError(f"Not a question with its answer: {where}. Give one user and one assistant message.")
        if not all(isinstance(m.get("content"), str) and m["content"].strip() for m in messages):
            raise UserError(f"Empty message: {where}. Give the question and the answer as text.")
        if not isinstance(images, list) or not images:
            raise UserError(f"No image: {where}. List its path under 'images'.")
        tags = sum(m["content"].count(IMAGE_TAG) for m in messages)
        if tags != len(images):
            raise UserError(f"{tags} {IMAGE_TAG} tags but {len(images)} images: {where}. Give one tag an image.")
        for image in images:
            if not present.setdefault(str(image), Path(str(image)).is_file()):
                raise UserError(f"Missing image: {image} ({where}). Check the path, or build DDQA again.")
    return rows


def to_sft_arguments(config: EDDMConfig, *, model: str, dataset: Path, output: Path) -> dict[str, Any]:
    """Maps the configuration to keyword arguments of ms-swift's `SftArguments`.

    Args:
        config: The configuration.
        model: Hub id or folder of the base.
        dataset: JSONL in ms-swift's format.
        output: Folder for checkpoints.
    """
    optim, lora = config.optim, config.lora
    arguments: dict[str, Any] = {
        "model": model,
        "model_type": config.model.model_type,
        "template": config.model.template,
        "model_revision": config.model.revision,
        "torch_dtype": config.model.torch_dtype,
        "bf16": config.model.torch_dtype == "bfloat16",
        "fp16": config.model.torch_dtype == "float16",
        "attn_impl": config.model.attn_impl,
        "check_model": not Path(model).is_dir(),
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
        "per_device_train_batch_size": optim.batch_size,
        "gradient_accumulation_steps": optim.accumulation,
        "lr_scheduler_type": optim.schedule,
        "warmup_ratio": optim.warmup_ratio,
        "weight_decay": optim.weight_decay,
        "adam_beta2": optim.beta2,
        "gradient_checkpointing": optim.gradient_checkpointing,
        "vit_gradient_checkpointing": optim.gradient_checkpointing,
        "dataloader_num_workers": optim.workers,
        "dataset_num_proc": 1,
        "output_dir": str(output),
        "add_version": False,
        "save_strategy": "steps",
        "save_steps": optim.save_steps,
        "save_total_limit": 1,
        "eval_strategy": "no",
        "logging_steps": 5,
        "report_to": ["none"],
        "disable_tqdm": True,
        "seed": config.seed,
        "data_seed": config.seed,
    }
    if optim.use_cpu:
        arguments["use_cpu"] = True
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            arguments["ddp_backend"] = "gloo"  # without it the ranks do not synchronise, silently
    if optim.deepspeed:
        arguments["deepspeed"] = optim.deepspeed
    if lora.target_regex:
        arguments["target_regex"] = lora.target_regex
    checkpoint = _last_checkpoint(output)
    if checkpoint is not None:
        arguments["resume_from_checkpoint"] = str(checkpoint)
    return arguments


def _ensure_base(config: EDDMConfig, run: Run) -> Path:
    """Trains the tiny base unless it is there with this configuration."""
    assert config.base is not None
    folder, stamp = run.eddm / "base", run.eddm / "base.json"
    wanted = hash_value([asdict(config.base), config.seed])
    finished = stamp.is_file() and read_json(stamp).get("fingerprint") == wanted
    if finished and (folder / "model.safetensors").is_file():
        log.info("EDDM base: already trained with this configuration")
        return folder
    if config.stage in (Stage.language, Stage.vision):
        train_part(config.base, folder, Part(config.stage.value), seed=config.seed)
        return folder
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(run.eddm / "adapter", ignore_errors=True)
    started = time.monotonic()
    logged = LogRows(run.eddm / "log.jsonl", stage="base")
    train_base(config.base, folder, seed=config.seed, row=logged.add)
    logged.flush()
    write_json(stamp, {"fingerprint": wanted, "config": asdict(config.base), "seed": config.seed})
    log.info("EDDM base: trained in %.0f s", time.monotonic() - started)
    return folder


def _train_adapter(
    config: EDDMConfig, run: Run, base: Path | None, rows: list[dict[str, Any]], fingerprint: str
) -> None:
    """Runs ms-swift and keeps the adapter, with a path to its base that survives moving the run."""
    work = make_dir(run.eddm / "lora")
    stamp = work / "fingerprint.json"
    if not stamp.is_file() or read_json(stamp) != fingerprint:
        shutil.rmtree(work)
        write_json(stamp, fingerprint)
    if config.optim.image_size is not None:
        rows = cache_images(rows, work / "images", size=config.optim.image_size)
    write_jsonl(work / "train.jsonl", ({key: row[key] for key in ("messages", "images")} for row in rows))
    model = str(base.resolve()) if base else config.model.id
    arguments = to_sft_arguments(config, model=model, dataset=(work / "train.jsonl").resolve(), output=work.resolve())
    started = time.monotonic()
    logged = LogRows(run.eddm / "log.jsonl", stage="lora")
    if base is not None:
        os.environ["HF_HUB_OFFLINE"] = "1"
    with talking("EDDM LoRA: ms-swift is at work") as said, fast_math(config.optim.fast_matmul):
        state = _run_swift(arguments, config.model.trust_remote_code, said)
    for entry in state["log_history"]:
        if "loss" in entry:
            kept = {key: entry[key] for key in ("loss", "learning_rate", "grad_norm") if key in entry}
            logged.add({"step": entry["step"], **kept})
    logged.flush()
    checkpoint = Path(state["last_model_checkpoint"])
    adapter, partial = run.eddm / "adapter", run.eddm / "adapter.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    shutil.copy2(checkpoint / "adapter_model.safetensors", partial)
    details = read_json(checkpoint / "adapter_config.json")
    write_json(partial / "adapter_config.json", details | {"base_model_name_or_path": "../base" if base else model})
    shutil.rmtree(adapter, ignore_errors=True)
    partial.rename(adapter)
    shutil.rmtree(work)
    log.info("EDDM LoRA: %d steps in %.0f s", state["global_step"], time.monotonic() - started)


def _run_swift(arguments: dict[str, Any], trust_remote_code: bool, said: Callable[[], None]) -> dict[str, Any]:
    """Trains in this process; ms-swift's own chatter is kept to warnings."""
    levels = [(handler, handler.level) for handler in logging.getLogger().handlers]
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from swift import SftArguments, get_logger
    from swift.pipelines import SwiftSft
    from transformers import PrinterCallback, TrainerCallback

    class Progress(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                said()
                log.info("EDDM LoRA: step %d of %d, loss %.3f", state.global_step, state.max_steps, float(logs["loss"]))

    class Sft(SwiftSft):
        def train(self, trainer: Any) -> Any:
            trainer.add_callback(Progress())
            trainer.remove_callback(PrinterCallback)
            return super().train(trainer)

    get_logger().setLevel(logging.ERROR)
    for handler, level in levels:  # importing ms-swift turns the root handlers down
        handler.setLevel(level)
    with contextlib.redirect_stdout(io.StringIO()), remote_code(trust_remote_code):
        return Sft(SftArguments(**arguments)).main()


def _last_checkpoint(output: Path) -> Path | None:
    """The newest complete checkpoint of an interrupted run."""
    found = [path for path in output.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return max(found, key=lambda path: int(path.name.split("-")[1]), default=None)
