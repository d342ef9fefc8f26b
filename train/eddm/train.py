"""Trains EDDM: LoRA on DDQA through ms-swift, as the paper does (Sec. IV-B: SWIFT, rank 8, alpha 32).

Reads the questions and the images that they name; writes `RUN/eddm/{adapter,config.json,log.jsonl}`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from data.errors import UserError, writing
from data.files import hash_file, hash_value, make_dir, read_json, write_json, write_jsonl
from data.run import Run
from models.chat.minicpmv26 import check_positions, mended
from models.chat.swift import check_swift, import_swift, remote_code
from models.quantize import keep_trainable_on_cpu
from models.tiny.batched_vision import batched_vision
from models.weights.shipped import name_shipped
from models.weights.trust import Admitted, admit
from train.eddm.arguments import to_sft_arguments
from train.eddm.config import EDDMConfig, Quantize, check_model
from train.eddm.identity import identify
from train.eddm.image_cache import base_side, cache_images
from train.eddm.rows import check_ddqa, to_swift_row
from train.eddm.watch import Watch
from train.engine import ranks
from train.engine.deepspeed import start_on_cpu
from train.engine.identity import Identity
from train.engine.launch import fast_products
from train.engine.manifest import ALONE, check_ranks, newest_intact, read_manifest
from train.engine.preflight import begin, check_same
from train.engine.progress import talking
from train.engine.stage import Stage, alone, claim, finish
from train.engine.stop import Stop, stopping

log = logging.getLogger(__name__)
TIMEOUT = 600.0  # seconds that ranks wait for each other


def train_eddm(config: EDDMConfig) -> None:
    """Trains the adapter unless it is trained with this configuration and data; an interrupted training goes on.

    Raises:
        UserError: If the data are unusable, the configuration contradicts itself, there is no GPU or too small a one,
            the ranks do not see each other or differ, another process trains here, or checkpoints of other data or
            settings are in the way.
    """
    run = Run(Path(config.run_dir))
    check_model(config)
    model = config.model
    base = admit(
        model.id,
        revision=model.revision,
        trusted=model.trust_remote_code,
        flag="model.trust_remote_code",
        pin="model.revision",
    )
    if not (config.optim.use_cpu or torch.cuda.is_available()):
        raise UserError("EDDM trains on a GPU, and torch sees none here. To train on the CPU, set optim.use_cpu=true.")
    begin(config, TIMEOUT, use_gpu=not config.optim.use_cpu)
    if config.optim.deepspeed and not ranks.is_distributed():
        raise UserError(
            f"optim.deepspeed={config.optim.deepspeed} needs a launcher, for one device, too: "
            "torchrun --nproc_per_node N -m scripts.train_eddm …"
        )
    with alone(run.eddm), stopping() as stop:
        ranks.main_decides(lambda: make_dir(run.eddm))
        _ensure_adapter(config, run, base, stop)
    ranks.leave()


def _ensure_adapter(config: EDDMConfig, run: Run, base: Admitted, stop: Stop) -> None:
    sources = [Path(name) for name in config.questions] or [run.ddqa / "train.jsonl"]
    source = ", ".join(map(str, sources))
    rows = [row for path in sources for row in check_ddqa(path) if row.get("category") not in config.hold_out]
    if not rows:
        raise UserError(f"No questions are left of {source} without hold_out={config.hold_out}. Hold out less.")
    if config.optim.image_size is not None and any(row.get("objects") for row in rows):
        raise UserError(
            f"optim.image_size={config.optim.image_size} makes images smaller, but {source} holds boxes in pixels of "
            "the originals. Set optim.image_size=null, or build DDQA with box_format=paper."
        )
    check_same({"questions": hash_value([hash_file(path) for path in sources])}, "training data")
    stage = _stage(run)
    with ranks.patient(TIMEOUT):
        identity = ranks.main_decides(lambda: identify(config, rows, base))
    if ranks.main_decides(lambda: claim(stage, identity, config.resume)):
        log.info("EDDM: %s is already trained with this configuration and data", run.eddm)
    else:
        _train_adapter(config, run, base, rows, stage, identity, stop)
        if ranks.is_main():
            _finish(config, run, base, rows, stage, identity)
    if ranks.is_main():
        shutil.rmtree(stage.work, ignore_errors=True)
    ranks.wait()


def _stage(run: Run) -> Stage:
    return Stage(
        name="EDDM",
        done=run.eddm / "config.json",
        identity=run.eddm / "identity.json",
        work=run.eddm / "lora",
        result=run.eddm / "adapter" / "adapter_model.safetensors",
    )


def _finish(
    config: EDDMConfig, run: Run, base: Admitted, rows: list[dict[str, Any]], stage: Stage, identity: Identity
) -> None:
    """Says how the model was trained and how to load it."""
    trained = {
        "base": _name_base(config, run, seen_from=run.eddm),
        "local": Path(config.model.id).is_dir(),
        "defects": sorted({row["defect"] for row in rows if row.get("defect")}),
        "use_cpu": config.optim.use_cpu,
        **{key: value for key, value in asdict(config.model).items() if key != "id"},
        **{"revision": base.revision, "code": base.code},
    }
    finish(stage, identity, {"trained": trained, "config": asdict(config)})
    log.info("EDDM: trained in %s", run.eddm)


def _name_base(config: EDDMConfig, run: Run, *, seen_from: Path) -> str:
    """The base's hub id or folder, so that a moved run still finds one that ships, or lies in the run."""
    folder = Path(config.model.id)
    if not folder.is_dir():
        return config.model.id
    if shipped := name_shipped(folder):
        return shipped
    if folder.resolve().is_relative_to(run.path.resolve()):
        return os.path.relpath(folder.resolve(), seen_from.resolve())
    return str(folder.resolve())


def _train_adapter(
    config: EDDMConfig,
    run: Run,
    base: Admitted,
    rows: list[dict[str, Any]],
    stage: Stage,
    identity: Identity,
    stop: Stop,
) -> None:
    """Runs ms-swift and keeps the adapter, with a path to its base that survives moving the run."""
    started = time.monotonic()
    with ranks.patient(TIMEOUT):
        ranks.main_decides(lambda: _check_room(config, base))
        checkpoint = ranks.main_decides(lambda: _prepare_work(config, stage.work, rows, identity))
    if not all(ranks.gather((stage.work / "train.jsonl").is_file())):
        raise UserError(f"Some ranks do not see {stage.work}. Give a run_dir on a disk that all nodes share.")
    if checkpoint is None or not _is_last(checkpoint):
        _run_swift(config, base, stage.work, rows, checkpoint, identity, stop)
        checkpoint = ranks.main_decides(lambda: newest_intact(stage.work, identity.fingerprint))
    assert checkpoint is not None and _is_last(checkpoint)
    if ranks.is_main():
        _keep(checkpoint, run, _name_base(config, run, seen_from=run.eddm / "adapter"))
        log.info("EDDM LoRA: %d steps in %.0f s", read_manifest(checkpoint).step, time.monotonic() - started)


def _check_room(config: EDDMConfig, base: Admitted) -> None:
    """Refuses a training that is too large for this GPU, before gigabytes are read."""
    if torch.cuda.is_available() and not config.optim.use_cpu:
        from train.plan.room import check_eddm_room  # slow to import

        check_eddm_room(config, str(base.place), ranks.world_size())


def _is_last(checkpoint: Path) -> bool:
    """Whether nothing is left to train."""
    manifest = read_manifest(checkpoint)
    return bool(manifest.step >= manifest.more["steps"])


def _prepare_work(config: EDDMConfig, work: Path, rows: list[dict[str, Any]], identity: Identity) -> Path | None:
    """Leaves `work` there with the rows that ms-swift reads; returns the checkpoint to go on from.

    Raises:
        UserError: If its optimizer state is spread over other ranks.
    """
    checkpoint = newest_intact(work, identity.fingerprint)
    if checkpoint is not None and not _is_last(checkpoint):
        check_ranks(checkpoint, config.optim.deepspeed or ALONE, key="optim.deepspeed")
    size = base_side(Path(config.model.id)) if config.optim.image_size == 0 else config.optim.image_size
    rows = cache_images(rows, work / "images", size=size)
    write_jsonl(make_dir(work) / "train.jsonl", map(to_swift_row, rows))
    return checkpoint


def _keep(checkpoint: Path, run: Run, base: str) -> None:
    """Copies the adapter out of the last checkpoint."""
    adapter, partial = run.eddm / "adapter", run.eddm / "adapter.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with writing(partial):
        shutil.copyfile(checkpoint / "adapter_model.safetensors", partial / "adapter_model.safetensors")
    details = read_json(checkpoint / "adapter_config.json")
    write_json(partial / "adapter_config.json", details | {"base_model_name_or_path": base})
    shutil.rmtree(adapter, ignore_errors=True)
    partial.rename(adapter)


def _run_swift(
    config: EDDMConfig,
    base: Admitted,
    work: Path,
    rows: list[dict[str, Any]],
    checkpoint: Path | None,
    identity: Identity,
    stop: Stop,
) -> None:
    """Trains in this process; ms-swift's own chatter is kept to warnings.

    Raises:
        SystemExit: 143 after SIGTERM, when a checkpoint is written.
    """
    arguments = to_sft_arguments(
        config,
        model=str(base.place),
        dataset=(work / "train.jsonl").resolve(),
        output=work.resolve(),
        ranks=ranks.world_size(),
        resume_from=checkpoint.resolve() if checkpoint else None,
    )
    if checkpoint is not None:
        log.info("EDDM LoRA: going on from step %d", read_manifest(checkpoint).step)
    _set_environment(config)
    import_swift()
    check_swift(base.place, config.model.model_type, config.model.template)
    from swift import SftArguments
    from swift.pipelines import SwiftSft
    from transformers import PrinterCallback

    watches: list[Watch] = []

    class Sft(SwiftSft):
        def train(self, trainer: Any) -> Any:
            loading.close()
            trainer.remove_callback(PrinterCallback)
            if config.lora.quantize is Quantize.nf4 and trainer.args.device.type == "cpu":
                keep_trainable_on_cpu(trainer.model)
            check_positions(trainer.model)
            watches.append(Watch(config, stop, identity=identity.fingerprint, rows=rows, said=said))
            watches[0].attach(trainer)
            with (
                contextlib.closing(watches[0]),
                stop.after_step(),
                fast_products(config.optim.fast_matmul),
                batched_vision(trainer.model),
            ):
                return super().train(trainer)

    with (
        contextlib.ExitStack() as loading,
        talking("EDDM LoRA: ms-swift is at work") as said,
        contextlib.redirect_stdout(io.StringIO()),
        remote_code(base.trust_remote_code),
        mended(base.place, trusted=base.trust_remote_code),
    ):
        loading.enter_context(ranks.patient(TIMEOUT))  # reading gigabytes from a shared disk
        Sft(SftArguments(**arguments)).main()
    if watches[0].stopped:
        stop.leave("EDDM's adapter")


def _set_environment(config: EDDMConfig) -> None:
    """What ms-swift and its parts read from the environment, before they are imported."""
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is left to download
    if config.optim.use_cpu and config.optim.deepspeed:
        start_on_cpu()
