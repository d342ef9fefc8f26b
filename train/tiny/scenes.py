"""Scenes that another process draws while training goes on."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import ExitStack
from types import TracebackType

from data.parallel import worker_pool
from data.tiny.pool import ScenePool, ScenePoolConfig, draw_pool, join_pools

CHUNK = 500
GROWING = 0.35  # share of the steps over which the pool grows to its full size


class Scenes:
    """A pool that grows; which scenes a step may see depends on the step alone, not on how fast they are drawn."""

    def __init__(self, config: ScenePoolConfig, *, count: int, size: int, seed: int, first: int = 0) -> None:
        """Starts drawing.

        Args:
            config: What to draw.
            count: How many scenes in all.
            size: Side of the images, in pixels.
            seed: Seed.
            first: Number of the first scene.
        """
        self._stack = ExitStack()
        process = self._stack.enter_context(worker_pool(1))
        self._chunks: list[Future[ScenePool]] = [
            process.submit(draw_pool, config, size=size, seed=seed, first=first + done, count=min(CHUNK, count - done))
            for done in range(0, count, CHUNK)
        ]
        self._joined = 0
        self._pool: ScenePool | None = None

    def at(self, share: float) -> ScenePool:
        """The scenes that a step may see after a share of the steps; waits until they are drawn."""
        wanted = 1 + int(min(1.0, share / GROWING) * (len(self._chunks) - 1))
        if self._pool is None or wanted > self._joined:
            fresh = [chunk.result() for chunk in self._chunks[self._joined : wanted]]
            self._pool = join_pools([*([self._pool] if self._pool is not None else []), *fresh])
            self._joined = wanted
        return self._pool

    def __enter__(self) -> Scenes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
