"""Work over several processes: results in order, memory bounded, one thread a process."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")
WAITING = 4  # chunks under way per process: enough to keep it busy, few enough to hold


def map_chunks(
    function: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item], *, workers: int, chunk: int = 32
) -> Iterator[Result]:
    """Applies a function to chunks of the items and yields its results in the order of the items.

    At most `4 × workers` chunks are under way, however many there are, so neither questions nor answers pile up
    (`Executor.map` submits everything at once). With one worker all happens in this process.

    Args:
        function: Takes a chunk; must be picklable when `workers` > 1.
        items: The items.
        workers: Processes.
        chunk: Items handed over at a time.
    """
    chunks: Iterable[Sequence[Item]] = (items[start : start + chunk] for start in range(0, len(items), chunk))
    if workers <= 1:
        for part in chunks:
            yield from function(part)
        return
    pool = ProcessPoolExecutor(workers, initializer=_start_worker)
    try:
        waiting: deque[Future[list[Result]]] = deque()
        source = iter(chunks)
        waiting.extend(pool.submit(function, part) for part in islice(source, WAITING * workers))
        while waiting:
            results = waiting.popleft().result()
            waiting.extend(pool.submit(function, part) for part in islice(source, 1))
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    gc.freeze()  # what was inherited stays shared: collecting it would copy its pages
