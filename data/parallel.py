"""Work over several processes or threads: results in order, memory bounded, one thread a process."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Generic, TypeVar

import cv2

from data.processes.lifeline import end_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")
Key = TypeVar("Key", bound=Hashable)
WAITING = 4  # chunks under way per process: enough to keep it busy, few enough to hold
AHEAD = 8  # items under way per thread


def _begin(spawned: bool) -> None:
    """What a working process does first: it ends with the process that started it, which alone hears Ctrl-C."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # what a fork inherits stays shared, not copied
    if spawned:
        cv2.setNumThreads(1)  # in a fork it would wait for ever for the threads that stayed behind


@contextmanager
def worker_pool(workers: int, context: str = "fork") -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread at work within the block; what waits for them is dropped when it is left.

    Args:
        workers: Processes.
        context: How they start, `fork` or `spawn`.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # here, before a fork: a child that inherits OpenCV's threads waits for them for ever
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context(context), _begin, (context == "spawn",))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(threads)


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
    with worker_pool(workers) as pool:
        waiting: deque[Future[list[Result]]] = deque()
        source = iter(chunks)
        waiting.extend(pool.submit(function, part) for part in islice(source, WAITING * workers))
        while waiting:
            results = waiting.popleft().result()
            waiting.extend(pool.submit(function, part) for part in islice(source, 1))
            yield from results


def map_threads(function: Callable[[Item], Result], items: Iterable[Item], *, workers: int) -> Iterator[Result]:
    """Applies a function to each item in threads, some items ahead of the caller, and yields in the order of the items.

    For work that leaves Python's lock, such as reading, decoding and resizing images: the caller, which may wait for
    a GPU or compute itself, finds the next results ready. Nothing is forked or copied between processes.

    Args:
        function: Must be safe in threads; what it raises is raised here, in its place.
        items: The items; taken as they are needed. An error in taking one comes after the results of those before it.
        workers: Threads, each of which may be up to eight items ahead.
    """
    failed: list[BaseException] = []
    source = _until_it_fails(items, failed)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as many threads as asked for, not as many again in each
    pool = ThreadPoolExecutor(workers)
    try:
        waiting = deque(pool.submit(function, item) for item in islice(source, AHEAD * workers))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(source, 1))
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(threads)
    if failed:
        raise failed[0]


def _until_it_fails(items: Iterable[Item], failed: list[BaseException]) -> Iterator[Item]:
    """The items up to an error, which is kept."""
    try:
        yield from items
    except (Exception, KeyboardInterrupt) as error:
        failed.append(error)


class Ahead(Generic[Key, Result]):
    """Makes in threads what will be asked for soon, while the caller does something else; see `map_threads`.

    For a caller that asks in its own order, and perhaps for something else than it said it would.

    Args:
        make: Must be safe in threads; what it raises is raised by `take`.
        workers: Threads.
    """

    def __init__(self, make: Callable[[Key], Result], *, workers: int = 2) -> None:
        self._make, self._workers = make, workers
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: dict[Key, Future[Result]] = {}

    def expect(self, items: Iterable[Key]) -> None:
        """Starts on some items; each should be taken later, for its result is kept until then."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers)
        for item in items:
            if item not in self._waiting:
                self._waiting[item] = self._pool.submit(self._make, item)

    def take(self, item: Key) -> Result:
        """The result of an item, made now where it was not expected."""
        waiting = self._waiting.pop(item, None)
        return self._make(item) if waiting is None else waiting.result()

    def drop(self, item: Key) -> None:
        """Forgets an item that may have been expected and is not needed."""
        self._waiting.pop(item, None)
