"""One rank of a small training: `torchrun rank_worker.py SPEC.json`. What it ends with goes to `rank-<n>.json`."""

import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from data.files import hash_value, read_json, write_json
from data.training.batches import MixedDataset, Part
from scripts.command import readable_errors
from train.engine import ranks
from train.engine.identity import Identity
from train.engine.launch import LaunchConfig, Strategy, check_launch
from train.engine.optim import OptimConfig
from train.engine.preflight import check_same
from train.engine.tracking import TrackingConfig
from train.mdlm.config import LoopConfig, RunConfig
from train.mdlm.loop import StepLoss, fit


@dataclass
class Batch:
    """Points and what they are worth; how many a rank has differs."""

    ids: list[str]
    points: torch.Tensor

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        return Batch(self.ids, self.points.to(device))


class Points:
    """Item `index` holds one to three points."""

    def __len__(self) -> int:
        return 24

    def get(self, epoch: int, index: int) -> tuple[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(1000 * epoch + index)
        return f"point {index}", torch.rand(1 + index % 3, 8, generator=generator)


def collate(items: list[tuple[str, torch.Tensor]]) -> Batch:
    return Batch([name for name, _ in items], torch.cat([points for _, points in items]))


def main(spec: dict) -> None:
    launch = LaunchConfig(strategy=Strategy(spec.get("strategy", "ddp")), timeout=spec.get("timeout", 60.0))
    check_launch(launch)
    ranks.meet(launch.timeout)
    own = int(os.environ.get("RANK", "0"))
    check_same({"seed": str(own if spec.get("disagree") else 0)}, "configurations")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(spec.get("dropout", 0.0)), nn.Linear(64, 1))
    frozen = model[0].bias.requires_grad_(False).clone()
    done = [0]

    def loss(network: nn.Module, batch: Batch) -> StepLoss:
        done[0] += 1
        if own == spec.get("kill_rank") and done[0] == spec["kill_at"]:
            os.kill(os.getpid(), spec.get("signal", signal.SIGKILL))
        errors = (network(batch.points)[:, 0] - batch.points.prod(1)) ** 2
        average = ranks.weigh(errors.mean(), len(errors))
        if own == spec.get("nan_rank") and done[0] == spec["nan_at"]:
            average = average * float("nan")
        return StepLoss(average, {"square": average})

    held = fit(
        model,
        MixedDataset([Part(Points(), 8)]),
        collate=collate,
        loss=loss,
        config=LoopConfig(
            steps=spec.get("steps", 6),
            batch_size=8,
            checkpoint_every=2,
            workers=spec.get("workers", 0),
            optim=OptimConfig(lr=1e-2, warmup_steps=2, clip=0.1),
        ),
        run=RunConfig(tracking=TrackingConfig(tensorboard=False), launch=launch),
        folder=Path(spec["folder"]),
        name="points",
        seed=3,
        identity=Identity({"a": "b"}),
    )
    assert torch.equal(model[0].bias, frozen)
    weights = {name: value.tolist() for name, value in model.state_dict().items()}
    write_json(
        Path(spec["folder"]) / f"rank-{own}.json",
        {"weights": hash_value(weights), "bytes": held, "world": ranks.world_size()},
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    with readable_errors():
        main(read_json(Path(sys.argv[1])))
