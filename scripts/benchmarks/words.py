"""Reads the `key=value` words of a benchmark."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence


def read_words(
    usage: str | None, defaults: Mapping[str, str], arguments: Sequence[str] | None = None
) -> dict[str, str]:
    """The settings of a benchmark; `--help` prints its docstring and ends, an unknown word is an error.

    Args:
        usage: The docstring of the benchmark, which says what each word means.
        defaults: What may be set, and what it is otherwise.
        arguments: The words; None takes those of the command line.
    """
    parser = argparse.ArgumentParser(
        usage=argparse.SUPPRESS, description=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    keys = ", ".join(f"{key}=" for key in defaults)
    parser.add_argument("words", nargs="*", metavar="key=value", help=f"one of {keys}")
    values = dict(defaults)
    for word in parser.parse_args(arguments).words:
        key, separator, value = word.partition("=")
        if not separator or key not in defaults:
            parser.error(f"'{word}' is not one of {keys}.")
        values[key] = value
    return values
