"""The commands. Help, mistyped words and Ctrl-C are answered even before the heavy libraries are imported."""

import sys
from types import TracebackType

from scripts.terminal.quiet import quiet_libraries


def _quiet_interrupt(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted: finished work is kept; run the same command again to go on.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _quiet_interrupt
quiet_libraries()

if sys.argv[0] == "-m":  # Python is still looking for the module of a command, which will import a heavy library
    from scripts.terminal.source import started_command

    if (name := started_command(sys.orig_argv)) and "." not in name:  # a benchmark answers for itself
        from scripts.command import answer_at_once

        answer_at_once(name, sys.argv[1:])
