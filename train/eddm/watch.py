"""What EDDM's training does around ms-swift's trainer: audit, log, seals and retention, SIGTERM, bad losses."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import TrainerCallback

from data.errors import UserError
from train.eddm.config import EDDMConfig, Quantize
from train.engine import preflight, ranks
from train.engine.checkpoint import check_disk
from train.engine.guard import LossGuard, stop_on
from train.engine.manifest import ALONE, Keep, Manifest, prune, seal
from train.engine.preflight import check_in_step
from train.engine.stop import Stop
from train.engine.tracking import Tracker

log = logging.getLogger(__name__)
ROW = "row_number"
LOGGED = {"loss": "loss", "learning_rate": "lr", "grad_norm": "grad_norm"}  # transformers' names and those of our logs


class Numbered(Dataset):
    """A dataset whose encoded rows carry their number, so that a bad batch can be named."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index] | {ROW: int(index)}

    def __len__(self) -> int:
        return len(self.rows)


class NumberedCollator:
    """Collates rows as before, and puts their numbers beside the batch; works in the loader's processes, too."""

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self.collate = collate

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch with `row_number`, (B,)."""
        numbers = torch.tensor([row[ROW] for row in rows])
        return self.collate([{key: value for key, value in row.items() if key != ROW} for row in rows]) | {ROW: numbers}


class Watch(TrainerCallback):
    """Follows a trainer: keeps its log, seals and prunes its checkpoints, ends it when asked or on a bad loss.

    Attributes:
        stopped: The training was ended by SIGTERM, after a checkpoint.
    """

    def __init__(
        self,
        config: EDDMConfig,
        stop: Stop,
        *,
        identity: str,
        rows: list[dict[str, Any]],
        said: Callable[[], None],
    ) -> None:
        """Prepares to watch one training.

        Args:
            config: The configuration.
            stop: Whether SIGTERM came.
            identity: Fingerprint of the training.
            rows: The DDQA rows, in the order of the training file.
            said: Called after something was logged.
        """
        self._config, self._stop, self._identity, self._rows, self._said = config, stop, identity, rows, said
        self._folder = Path(config.run_dir) / "eddm"
        self._tracker: Tracker | None = None
        self._guard = LossGuard(None, limit=config.optim.loss_limit)
        self._compared = False
        self._losses: list[tuple[Tensor, Tensor]] = []  # of the micro-batches since the last update, with their rows
        self.stopped = False

    def attach(self, trainer: Any) -> None:
        """Refuses a trainer that would not do what was configured, says what it will do, and watches its losses.

        Raises:
            UserError: If ranks, strategy or disk space are not as they must be.
        """
        audit(trainer, self._config, rows=len(self._rows))
        trainer.train_dataset = Numbered(trainer.train_dataset)
        trainer.data_collator = NumberedCollator(trainer.data_collator)
        compute = trainer.compute_loss

        def compute_loss(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            numbers = inputs.pop(ROW)
            result = compute(model, inputs, *args, **kwargs)
            loss = result[0] if isinstance(result, tuple) else result
            if model.training:
                self._losses.append((loss.detach(), numbers))
            return result

        trainer.compute_loss = compute_loss
        trainer.add_callback(self)

    def close(self) -> None:
        """Writes what is left of the log."""
        if self._tracker:
            self._tracker.close()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begins the log, or goes on with it."""
        if ranks.is_main():
            self._tracker = Tracker(
                self._folder / "log.jsonl",
                start=state.global_step,
                steps=state.max_steps,
                name="EDDM LoRA",
                config=self._config.tracking,
                stage="lora",
                settings=asdict(self._config),
            )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Says where training is."""
        if logs and "loss" in logs and self._tracker:
            self._said()
            self._tracker.add(state.global_step, **{LOGGED[key]: logs[key] for key in LOGGED if key in logs})

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Looks at the losses before they move a weight: once an update, because looking makes the GPU wait."""
        if not self._losses:
            return
        losses = torch.stack([loss.float() for loss, _ in self._losses])
        for own, shared, (_, numbers) in zip(losses.tolist(), ranks.mean(losses).tolist(), self._losses, strict=True):
            if problem := self._guard.judge(shared):
                ids = [_name(int(number), self._rows) for number in numbers]
                stop_on(problem, name="EDDM LoRA", step=state.global_step + 1, ids=ids, loss=own, folder=self._folder)
        self._losses = []

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Ends training when any rank was asked to, and makes sure once that the ranks still agree."""
        if not self._compared:
            self._compared = True
            check_in_step(model)
            if ranks.world_size() > 1 and _zero_stage(args) < 3:  # under ZeRO-3 no rank holds all weights
                log.info("EDDM LoRA: all %d ranks hold the same weights after a step", ranks.world_size())
        asked = ranks.mean(torch.tensor(float(self._stop.requested)))
        if asked > 0 and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Seals the checkpoint when every rank has written its part, then removes those that need not stay."""
        ranks.wait()
        if ranks.is_main():
            if self._tracker:
                self._tracker.flush()
            strategy = self._config.optim.deepspeed or ALONE
            manifest = Manifest(
                identity=self._identity,
                step=state.global_step,
                world=ranks.world_size(),
                strategy=strategy,
                more={"steps": state.max_steps},
            )
            seal(Path(args.output_dir) / f"checkpoint-{state.global_step}", manifest)
            prune(Path(args.output_dir), Keep(self._config.optim.keep))
        ranks.wait()


def audit(trainer: Any, config: EDDMConfig, *, rows: int) -> None:
    """Says what is about to be trained, with what and where; refuses what would go wrong silently or late.

    Raises:
        UserError: If the trainer is alone or without DeepSpeed against the configuration, nothing is trainable, or the
            next checkpoint does not fit on the disk.
    """
    args, model = trainer.args, trainer.model
    if args.world_size != ranks.world_size():
        raise UserError(
            f"The trainer takes itself for one of {args.world_size} ranks, but {ranks.world_size()} were started. On a "
            "CPU set optim.use_cpu=true; else check the launcher."
        )
    if config.optim.deepspeed and not trainer.is_deepspeed_enabled:
        raise UserError(
            f"optim.deepspeed={config.optim.deepspeed} is set, but DeepSpeed is not at work. Start with torchrun, "
            "for one device, too: torchrun --nproc_per_node 1 -m scripts.train_eddm …"
        )
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    if not trained:
        raise UserError(f"Nothing is trainable in {config.model.id}. Check lora.target_regex.")
    kinds = Counter(name.rsplit(".", 1)[-1] for name in {name.split(".lora_")[0] for name in trained})
    room = check_disk(Path(args.output_dir), model, Keep(config.optim.keep), key="optim.keep")
    rows_each, times = args.per_device_train_batch_size, args.gradient_accumulation_steps
    preflight.audit(
        model,
        name="EDDM LoRA",
        strategy=f"DeepSpeed ZeRO-{_zero_stage(args)}" if config.optim.deepspeed else ALONE,
        batch=f"{rows_each * times * args.world_size} rows a step = {rows_each} × {times} accumulated × "
        f"{args.world_size} ranks",
        precision=config.model.torch_dtype,
        remedy="model.torch_dtype=float32",
        device=args.device,
        facts={
            "base": config.model.id + (", linear layers in nf4" if config.lora.quantize is Quantize.nf4 else ""),
            "adapted": ", ".join(f"{kind} × {number}" for kind, number in sorted(kinds.items())),
            "data": f"{rows:,} rows",
            "checkpoint": f"every {args.save_steps} steps, {room}",
        },
    )


def _zero_stage(args: Any) -> int:
    plugin = getattr(args, "deepspeed_plugin", None)
    return int(plugin.zero_stage) if plugin is not None else 0


def _name(number: int, rows: list[dict[str, Any]]) -> str:
    row = rows[number]
    return f"{row.get('id', row['images'][0])} (line {number + 1})"
