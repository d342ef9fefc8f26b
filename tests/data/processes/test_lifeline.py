"""No orphans: workers and commands end with a process that is killed, hung up, or gone before they began."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from data.processes.lifeline import command_line

ROOT = Path(__file__).resolve().parents[3]
POOL = """
import os, sys, time
from data.parallel import map_chunks, worker_pool

def work(items):
    os.write(1, f"{os.getpid()}\\n".encode())  # at once, beside the other worker
    time.sleep(600)
    return items

if __name__ == "__main__":
    if sys.argv[1] == "map_chunks":
        list(map_chunks(work, range(8), workers=2, chunk=1))
    with worker_pool(2, sys.argv[1]) as pool:
        list(pool.map(work, range(2)))
"""
COMMAND = """
import os, signal, subprocess, sys, time
assert __name__ == "__main__" and sys.argv[1] == "given"
if sys.argv[2:] == ["stubborn"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(subprocess.Popen(["sleep", "600"]).pid, flush=True)  # of its process group
print(os.getpid(), flush=True)
time.sleep(600)
"""
START = """
import signal, subprocess, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever started the tests by nohup ignores it
from data.processes.lifeline import command_line
subprocess.Popen(command_line(sys.argv[1:]), start_new_session=True).wait()
"""


def begin(*arguments: str, processes: int) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """Starts Python, and reads the numbers of the processes that it says it has started."""
    environment = {"PYTHONPATH": str(ROOT), **os.environ}
    child = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    assert child.stdout is not None
    return child, [psutil.Process(int(child.stdout.readline())) for _ in range(processes)]


def wait_for_the_end(processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + 30
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
        assert time.monotonic() < deadline, f"orphans: {processes}"
        time.sleep(0.05)


@pytest.mark.parametrize("how", ["map_chunks", "fork", "spawn"])
def test_workers_end_with_a_killed_process(how: str, tmp_path: Path) -> None:
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    parent, workers = begin(str(script), how, processes=2)
    assert all(worker.pid != parent.pid for worker in workers)
    parent.kill()
    parent.wait()
    wait_for_the_end(workers)


RANK = """
import os, time
from data.processes.lifeline import end_with_launcher
end_with_launcher()
end_with_launcher()
print(os.getpid(), flush=True)
time.sleep(600)
"""
LAUNCH = """
import os, subprocess, sys
rank = [sys.executable, "-c", sys.argv[1]]
subprocess.Popen(rank, start_new_session=True, env={**os.environ, "TORCHELASTIC_RUN_ID": "none"}).wait()
"""


def test_a_rank_ends_with_a_killed_launcher() -> None:
    launcher, ranks = begin("-c", LAUNCH, RANK, processes=1)
    launcher.kill()
    launcher.wait()
    wait_for_the_end(ranks)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "sleeping_command.py").write_text(COMMAND)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(tmp_path)]))
    return "sleeping_command"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_command_ends_with_the_one_that_started_it(number: signal.Signals, command: str) -> None:
    starter, commands = begin("-c", START, command, "given", processes=1)
    starter.send_signal(number)
    starter.wait()
    wait_for_the_end(commands)


@pytest.mark.timeout(60)
def test_one_that_does_not_listen_is_killed_with_all_it_started(command: str) -> None:
    starter, commands = begin("-c", START, command, "given", "stubborn", processes=2)
    starter.kill()
    starter.wait()
    wait_for_the_end(commands)


def test_a_starter_that_is_gone_before_the_command_began_is_noticed(command: str) -> None:
    line = [word if word != str(os.getpid()) else "1" for word in command_line([command, "given"])]
    assert subprocess.Popen(line, cwd=ROOT).wait(timeout=30) == -signal.SIGTERM
