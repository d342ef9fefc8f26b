"""What libraries say that nobody asked for is silenced here, and only here. Their errors are left alone."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ADVICE = {  # logger → how the messages begin that tell a user of EIAD nothing
    "DeepSpeed": "Setting accelerator to CPU",  # there is no GPU, and it is told on stdout
    "bitsandbytes.backends.cpu.ops": "",  # advertises a kernel at every import
    "httpx": "HTTP Request: ",  # one line a request
    "transformers.configuration_utils": "`torch_dtype` is deprecated",  # ms-swift's affair
    "transformers.modeling_utils": "`torch_dtype` is deprecated",
}
NO_WEIGHTS = "No pretrained weights loaded"  # what open_clip warns of where EIAD reads the weights next, or needs none
BARS = "HF_HUB_DISABLE_PROGRESS_BARS"  # transformers' over weights that load in a moment; downloads have their own


def quiet_libraries() -> None:
    """Silences advice, deprecations between libraries, and bars; call it before the libraries are imported."""
    os.environ.setdefault(BARS, "1")
    for name, beginning in ADVICE.items():
        logging.getLogger(name).addFilter(_Unasked(beginning))
    logging.getLogger().addFilter(_keep_from_open_clip)
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated", category=DeprecationWarning)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Whatever a library prints goes to stderr, down to the file descriptor."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _keep_from_open_clip(record: logging.LogRecord) -> bool:
    """Whether a message of the root logger is to be told: open_clip has no logger of its own, and tells each step."""
    if Path(record.pathname).parent.name != "open_clip":
        return True
    return record.levelno > logging.INFO and not record.getMessage().startswith(NO_WEIGHTS)


class _Unasked(logging.Filter):
    """Drops messages below an error that begin in one way."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self.beginning = beginning

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message is to be told."""
        return record.levelno >= logging.ERROR or not record.getMessage().startswith(self.beginning)
