"""The processes of one evaluation, as `torchrun` starts them; alone without it. They talk through gloo.

torch is imported where several processes meet: one alone, which may only score maps, starts without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from data.errors import UserError
from data.processes.lifeline import end_with_launcher

Item = TypeVar("Item")
TIMEOUT = timedelta(hours=12)  # a slow rank is waited for


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among `world` ones; all methods must be called by every one of them in the same order."""

    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes what all have found."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """The part of some items, the same list on all ranks, that is this rank's to work on."""
        return items[self.rank :: self.world]

    def wait(self) -> None:
        """Returns when all ranks are here."""
        if self.world > 1:
            import torch.distributed as dist

            dist.barrier()

    def broadcast(self, value: Item) -> Item:
        """The main rank's value, on all ranks."""
        if self.world == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def once(self, make: Callable[[], Item]) -> Item:
        """What the main rank makes, on all ranks; what it finds wrong with the input is raised on all of them.

        Args:
            make: Called on the main rank alone; must not wait for others.
        """
        if self.world == 1:
            return make()
        made: Item | UserError | None = None
        if self.is_main:
            try:
                made = make()
            except UserError as error:
                made = error
        made = self.broadcast(made)
        if isinstance(made, UserError):
            raise made
        return made  # type: ignore[return-value]

    def gather(self, value: Item) -> list[Item]:
        """The values of all ranks in order of rank, on all ranks."""
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        values: list[Item | None] = [None] * self.world
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]


def join_ranks() -> Ranks:
    """Joins the processes that `torchrun` started, once; one process alone without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks()
    import torch.distributed as dist

    if not dist.is_initialized():
        end_with_launcher()
        dist.init_process_group("gloo", timeout=TIMEOUT)
    return Ranks(dist.get_rank(), dist.get_world_size())
