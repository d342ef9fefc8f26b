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
from typing import IO, Any

import psutil

from data.content import hash_files
from data.errors import UserError
from data.files import hash_value, make_dir, read_json, write_json
from data.plugins.trust import allowed_words
from data.processes.lifeline import command_line

QUIET_SECONDS = 8.0  # a heartbeat is printed when a stage has said nothing for this long
PROGRESS_SECONDS = 4.0  # progress bars are repeated at most this often


@dataclass(frozen=True, slots=True)
class Stage:
    """One command of the pipeline.

    Attributes:
        name: Short unique name, shown before each of its lines.
        arguments: What follows `python -m`.
        needs: Names of the stages that must have finished.
        outputs: Files and folders, below the run directory, that it leaves behind for others.
        settings: Everything that decides its result and is no output of another stage; empty takes the arguments.
    """

    name: str
    arguments: list[str]
    needs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


class Pipeline:
    """Runs stages in the order of their needs; what an earlier call finished is not run again.

    A stage counts as finished when `RUN/stages.json` holds it with the same settings, what it needs holds the same as
    then, and so does what it left behind. Whether it has something to do is the command's own affair: a training that
    is asked again about the same data says so and ends.
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
        self.run_dir = run_dir
        self.logs = make_dir(run_dir / "logs")
        self.record = run_dir / "stages.json"
        self.done = read_json(self.record) if self.record.exists() else {}
        self.outputs: dict[str, str] = {}  # of stages that are finished now: what they left behind
        self.running: dict[str, _Process] = {}
        self.peak_bytes = 0

    def run(self) -> None:
        """Runs what is left.

        Raises:
            UserError: If a stage fails; the others are stopped, the finished ones stay finished.
            KeyboardInterrupt: After every running stage has been told and has ended.
        """
        waiting = list(self.stages.values())
        try:
            while waiting or self.running:
                for stage in list(waiting):
                    if any(need not in self.outputs for need in stage.needs):
                        continue
                    if self._is_done(stage):
                        waiting.remove(stage)
                        print(f"[{stage.name}] already done", file=sys.stderr)
                    elif len(self.running) < self.jobs:
                        waiting.remove(stage)
                        self.running[stage.name] = _Process(stage, self.logs / f"{stage.name}.log")
                time.sleep(0.2)
                self._collect()
        finally:
            for process in self.running.values():
                process.interrupt()
            for process in self.running.values():
                process.stop()

    def _is_done(self, stage: Stage) -> bool:
        entry = self.done.get(stage.name, {})
        if entry.get("fingerprint") != self._fingerprint(stage):
            return False
        outputs = self._left_by(stage)
        if outputs is None or entry.get("outputs") != outputs:
            return False
        self.outputs[stage.name] = outputs
        return True

    def _left_by(self, stage: Stage) -> str | None:
        """Names what a stage left behind by its content, or, where it leaves nothing, by what it was made from."""
        return hash_outputs(self.run_dir, stage.outputs) if stage.outputs else self._fingerprint(stage)

    def _fingerprint(self, stage: Stage) -> str:
        return hash_value([stage.settings or stage.arguments, [self.outputs[need] for need in stage.needs]])

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
            stage = self.stages[name]
            outputs = self._left_by(stage)
            if outputs is None:  # `extra` may have sent them elsewhere
                print(f"[{name}] left no {', '.join(stage.outputs)}: the next call runs it again", file=sys.stderr)
            self.outputs[name] = outputs or ""
            self.done[name] = {
                "fingerprint": self._fingerprint(stage),
                "outputs": outputs,
                "seconds": round(process.seconds, 1),
                "peak_gib": round(process.peak_bytes / 2**30, 2),
            }
            write_json(self.record, self.done)
            print(f"[{name}] done in {process.seconds:.0f} s", file=sys.stderr, flush=True)


def hash_outputs(run_dir: Path, outputs: Sequence[str]) -> str | None:
    """One hash over the names and contents of files and folders; None if one of them is missing."""
    files: list[Path] = []
    for name in outputs:
        path = run_dir / name
        found = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        if not found or not found[0].is_file():
            return None
        files += found
    hashes = hash_files(files)
    return hash_value([(file.relative_to(run_dir).as_posix(), hashes[file]) for file in files])


class _Process:
    def __init__(self, stage: Stage, log: Path) -> None:
        self.name, self.log = stage.name, log
        self.started = self.last_word = time.monotonic()
        self.peak_bytes = 0
        self.stopping = False  # what it says from then on goes to the log alone
        arguments = [*stage.arguments, *allowed_words()]  # reports name plug-ins that their own words do not
        print(f"[{stage.name}] python -m {' '.join(arguments)}", file=sys.stderr, flush=True)
        self.child = subprocess.Popen(
            command_line(arguments),
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
