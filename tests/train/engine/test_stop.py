import os
import signal
import subprocess
import sys
import threading

import pytest

from train.engine.stop import EXIT_CODE, ignore_stop, stopping

LOOP = """
import time
from train.engine.stop import stopping
with stopping() as stop:
    with stop.after_step():
        print("ready", flush=True)
        while not stop.requested:
            time.sleep(0.01)
        print("saved", flush=True)
        stop.leave("step 3")
"""


def test_in_a_loop_the_signal_only_asks() -> None:
    with stopping() as stop, stop.after_step():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested


def test_asked_twice_it_still_only_asks() -> None:
    with stopping() as stop, stop.after_step():
        for _ in range(2):  # from the scheduler, and from torchrun
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested


def test_outside_a_loop_the_process_ends_at_once() -> None:
    with stopping() as stop, pytest.raises(SystemExit) as error:
        os.kill(os.getpid(), signal.SIGTERM)
    assert error.value.code == EXIT_CODE == 143
    assert not stop.requested


def test_loading_processes_leave_the_signal_to_the_training_process() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        ignore_stop(0)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_handler_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_in_another_thread_nothing_changes() -> None:
    seen: list[bool] = []

    def look() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with stopping():
            seen.append(signal.getsignal(signal.SIGTERM) == before)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [True]


def test_a_process_saves_and_exits_with_143() -> None:
    process = subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.terminate()
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "saved\n")
    assert "step 3 is saved" in said
