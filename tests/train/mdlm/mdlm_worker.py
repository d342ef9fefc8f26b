"""One command of the MDLM's training at toy size, as a process: `mdlm_worker.py base|adapter RUN DATASET STRATEGY`."""

import importlib.util
import logging
import os
import signal
import sys
from pathlib import Path

from scripts.command import readable_errors
from train.engine.launch import Strategy
from train.mdlm.train import train_mdlm
from train.tiny.train import train_tiny_base


class KillAt(logging.Handler):
    """Kills the process, as the kernel would, when it says something: it cannot get any further."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def emit(self, record: logging.LogRecord) -> None:
        if self.text in record.getMessage():
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    path = Path(__file__).resolve().parents[1] / "conftest.py"
    spec = importlib.util.spec_from_file_location("toy", path)
    assert spec is not None and spec.loader is not None
    toy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toy)
    part, run, root, strategy = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Strategy(sys.argv[4])
    config = toy.configure_base(run) if part == "base" else toy.configure(run, root)
    config.launch.strategy = strategy
    (train_tiny_base if part == "base" else train_mdlm)(config)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if "KILL_AT" in os.environ:
        logging.getLogger().addHandler(KillAt(os.environ["KILL_AT"]))  # after the handler that prints
    with readable_errors():
        main()
