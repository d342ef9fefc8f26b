"""Runs the stages of a pipeline as processes: side by side where they can, each once, never silent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from data.errors import UserError
from data.files import hash_value, make_dir, read_json, write_json

QUIET_SECONDS = 8.0  # a heartbeat is printed when a stage has said nothing for this long
PROGRESS_SECONDS = 4.0  # progress bars are repeated at most this often


@dataclass(frozen=True, slots=True)
class Stage:
    """One command of the pipeline.

    Attributes:
        name: Short unique name, shown before each of its lines.
        arguments: What follows `python -m`.
        needs: Names of the stages that must have finished.
    """

    name: str
    arguments: list[str]
    needs: list[str] = field(default_factory=list)


class Pipeline:
    """Runs stages in the order of their needs; what an earlier call finished is not run again.

    A stage counts as finished when `RUN/stages.json` holds it with the same command and the same needs.
    """

    def __init__(self, stages: Sequence[Stage], run_dir: Path, *, jobs: int) -> None:
        """Checks the needs and reads what is finished.

        Args:
            stages: The stages; needs point to earlier ones.
            run_dir: Where `stages.json` and `logs/` are kept.
            jobs: How many stages run side by side.
        """
        self.stages = {stage.name: stage for stage in stages}
        self.jobs = jobs
        self.logs = make_dir(run_dir / "logs")
        self.record = run_dir / "stages.json"
        self.fingerprints: dict[str, str] = {}
        for stage in stages:
            upstream = [self.fingerprints[need] for need in stage.needs]
            self.fingerprints[stage.name] = hash_value([stage.arguments, upstream])
        self.done = read_json(self.record) if self.record.exists() else {}
        self.running: dict[str, _Process] = {}
        self.peak_bytes = 0

    def run(self) -> None:
        """Runs what is left.

        Raises:
            UserError: If a stage fails; the others are stopped, the finished ones stay finished.
            KeyboardInterrupt: After every running stage has been told and has ended.
        """
        waiting = [stage for stage in self.stages.values() if not self._is_done(stage.name)]
        for stage in self.stages.values():
            if stage not in waiting:
                print(f"[{stage.name}] already done", file=sys.stderr)
        try:
            while waiting or self.running:
                for stage in [stage for stage in waiting if all(map(self._is_done, stage.needs))]:
                    if len(self.running) < self.jobs:
                        waiting.remove(stage)
                        self.running[stage.name] = _Process(stage, self.logs / f"{stage.name}.log")
                time.sleep(0.2)
                self._collect()
        finally:
            for process in self.running.values():
                process.interrupt()
            for process in self.running.values():
                process.stop()

    def _is_done(self, name: str) -> bool:
        return self.done.get(name, {}).get("fingerprint") == self.fingerprints[name]

    def _collect(self) -> None:
        memory = sum(process.memory() for process in self.running.values())
        self.peak_bytes = max(self.peak_bytes, memory)
        for name, process in list(self.running.items()):
            process.heartbeat()
            code = process.poll()
            if code is None:
                continue
            del self.running[name]
            if code:
                raise UserError(
                    f"Stage '{name}' failed (exit code {code}); its last lines are above, all of them in "
                    f"{process.log}. Finished stages are kept: fix it and run the same command again."
                )
            self.done[name] = {
                "fingerprint": self.fingerprints[name],
                "seconds": round(process.seconds, 1),
                "peak_gib": round(process.peak_bytes / 2**30, 2),
            }
            write_json(self.record, self.done)
            print(f"[{name}] done in {process.seconds:.0f} s", file=sys.stderr, flush=True)


class _Process:
    def __init__(self, stage: Stage, log: Path) -> None:
        self.name, self.log = stage.name, log
        self.started = self.last_word = time.monotonic()
        self.peak_bytes = 0
        self.stopping = False  # what it says from then on goes to the log alone
        print(f"[{stage.name}] python -m {' '.join(stage.arguments)}", file=sys.stderr, flush=True)
        self.child = subprocess.Popen(
            [sys.executable, "-u", "-m", *stage.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self.child.stdout is not None
        self.reader = threading.Thread(target=self._forward, args=(self.child.stdout,), daemon=True)
        self.reader.start()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def poll(self) -> int | None:
        code = self.child.poll()
        if code is not None:
            self.reader.join(timeout=5)
        return code

    def memory(self) -> int:
        """Resident bytes of the stage and its children."""
        try:
            parent = psutil.Process(self.child.pid)
            total = sum(process.memory_info().rss for process in [parent, *parent.children(recursive=True)])
        except psutil.Error:
            return 0
        self.peak_bytes = max(self.peak_bytes, total)
        return total

    def heartbeat(self) -> None:
        if time.monotonic() - self.last_word > QUIET_SECONDS:
            self._say(f"… {self.seconds:.0f} s")

    def interrupt(self) -> None:
        self.stopping = True
        _signal_group(self.child.pid, signal.SIGINT)

    def stop(self) -> None:
        try:
            self.child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            _signal_group(self.child.pid, signal.SIGKILL)
            self.child.wait()

    def _say(self, line: str) -> None:
        self.last_word = time.monotonic()
        if self.stopping:
            return
        print(f"[{self.name}] {line}", file=sys.stderr, flush=True)

    def _forward(self, stream: IO[bytes]) -> None:
        """Copies every line to the log and the terminal; of a progress bar, only a frame now and then."""
        line = b""
        with self.log.open("wb") as log:
            while chunk := os.read(stream.fileno(), 65536):
                for byte in chunk.splitlines(keepends=True):
                    line += byte
                    if not line.endswith((b"\n", b"\r")):
                        continue
                    text = line.decode(errors="replace").strip()
                    is_frame = line.endswith(b"\r")
                    line = b""
                    if text and not (is_frame and time.monotonic() - self.last_word < PROGRESS_SECONDS):
                        log.write(text.encode() + b"\n")
                        log.flush()
                        self._say(text)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
