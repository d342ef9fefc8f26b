"""The commands. Ctrl-C ends quietly, and `--help` answers, before the heavy libraries are imported."""

import logging
import sys
from types import TracebackType


def _quiet_interrupt(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted: finished work is kept; run the same command again to go on.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _quiet_interrupt
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # it advertises a kernel at every import

if sys.argv[0] == "-m" and {"--help", "-h"} & set(sys.argv[1:]):  # Python is still looking for the command's module
    from scripts.command import answer_help

    answer_help(sys.orig_argv)
