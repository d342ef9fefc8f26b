"""What libraries say that nobody asked for is silenced here, and only here. Their errors are left alone."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

ADVICE = {  # logger → how the messages begin that tell a user of EIAD nothing
    "DeepSpeed": "Setting accelerator to CPU",  # there is no GPU, and it is told on stdout
    "bitsandbytes.backends.cpu.ops": "",  # advertises a kernel at every import
    "httpx": "HTTP Request: ",  # one line a request
    "transformers.configuration_utils": "`torch_dtype` is deprecated",  # ms-swift's affair
    "transformers.modeling_utils": "`torch_dtype` is deprecated",
}
BARS = "HF_HUB_DISABLE_PROGRESS_BARS"  # transformers' over weights that load in a moment; downloads have their own


def quiet_libraries() -> None:
    """Silences advice, deprecations between libraries, and bars; call it before the libraries are imported."""
    os.environ.setdefault(BARS, "1")
    for name, beginning in ADVICE.items():
        logging.getLogger(name).addFilter(_Unasked(beginning))
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


class _Unasked(logging.Filter):
    """Drops messages below an error that begin in one way."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self.beginning = beginning

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message is to be told."""
        return record.levelno >= logging.ERROR or not record.getMessage().startswith(self.beginning)
