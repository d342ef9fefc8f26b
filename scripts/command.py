"""From the command line to one typed config: Hydra composes, one call converts, errors stay readable."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data.errors import UserError

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
Config = TypeVar("Config")


def command(
    name: str, schema: type[Config], *, aliases: dict[str, str] | None = None
) -> Callable[[Callable[[Config], None]], Callable[[], None]]:
    """Makes a function the entry point of `python -m scripts.<name>`.

    Args:
        name: Name of the YAML in `configs/`, without the suffix.
        schema: Dataclass that the composed config must match: unknown keys, missing values and wrong types fail.
        aliases: Words of the command line and the keys they stand for; their values are texts, so a path may hold
            spaces and brackets. Needed where Hydra would take the word for a group of configs: `data=DIR`.

    Returns:
        A decorator for `run(config) -> None`. Exit codes: 0 done, 1 full disk or bad command line, 2 bad input,
        130 interrupted.
    """

    def decorate(run: Callable[[Config], None]) -> Callable[[], None]:
        def main(cfg: DictConfig) -> None:
            logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended politely is interrupted
            with readable_errors():
                run(to_dataclass(cfg, schema))

        entry = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)(main)

        def start() -> None:
            sys.argv[1:] = [spell_out(argument, schema, aliases or {}) for argument in sys.argv[1:]]
            entry()

        def parse(arguments: list[str]) -> Config:
            return compose_config(name, schema, [spell_out(argument, schema, aliases or {}) for argument in arguments])

        start.schema = schema  # type: ignore[attr-defined]  # for the tests that compose every YAML …
        start.parse = parse  # type: ignore[attr-defined]  # … and every command line of the documentation
        return start

    return decorate


def spell_out(argument: str, schema: type, aliases: dict[str, str]) -> str:
    """Writes an argument as Hydra needs it.

    An alias becomes its key, with its value quoted unless it is already. A key below a field that is a dictionary of
    free names, such as `paths.bsdata=DIR`, gets `++`, without which Hydra accepts only names that are in the YAML.
    """
    key, separator, value = argument.partition("=")
    if not separator:
        return argument
    owner = key.partition(".")[0]
    if owner != key and any(entry.name == owner and str(entry.type).startswith("dict[") for entry in fields(schema)):
        return f"++{argument}"
    if key not in aliases:
        return argument
    if value and value != "null" and value[0] not in "'\"":
        value = "'" + value.replace("'", "\\'") + "'"
    return f"{aliases[key]}={value}"


def to_dataclass(cfg: DictConfig, schema: type[Config]) -> Config:
    """Converts a composed config into its dataclass; past this line nobody sees a `DictConfig`.

    Raises:
        UserError: If a key is unknown, a mandatory value is missing, or a type is wrong.
    """
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), cfg))  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        if variable := re.search(r"Environment variable '(\w+)' not found", reason):
            name = variable[1]
            raise UserError(f"Set the environment variable {name} first, for example: export {name}=/path") from error
        key = f" (key: {error.full_key})" if error.full_key else ""
        raise UserError(f"Bad configuration{key}: {reason}") from error


def compose_config(name: str, schema: type[Config], overrides: list[str]) -> Config:
    """Another command's configuration, as its own command line would give it.

    Args:
        name: Name of its YAML in `configs/`, without the suffix.
        schema: Its dataclass.
        overrides: Words of its command line.

    Raises:
        UserError: If a word is no setting of that command, or a value is missing or of a wrong type.
    """
    inside = GlobalHydra.instance().is_initialized()  # a benchmark is no command
    ready = nullcontext() if inside else hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS))
    try:
        with ready:
            cfg = hydra.compose(name, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"scripts.{name} does not take {' '.join(overrides)}: {reason}") from error
    return to_dataclass(cfg, schema)


class readable_errors:  # noqa: N801  (a context manager, used like a function)
    """Turns user errors, a full disk and Ctrl-C into one message on stderr and an exit code."""

    def __enter__(self) -> None:
        """Does nothing."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Exits with the message, or lets a programming error through with its traceback."""
        if isinstance(error, UserError):
            _exit(f"error: {error}", 2)
        if isinstance(error, KeyboardInterrupt):
            _exit("interrupted: finished work is kept; run the same command again to go on.", 130)
        if error is not None and _is_full_disk(error):
            _exit(f"error: the disk is full ({error}). Free some space and run the same command again to go on.", 1)


def _is_full_disk(error: BaseException) -> bool:
    """Whether a write failed for lack of space; libraries that write in native code only say so in the text."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return os.strerror(errno.ENOSPC) in str(error)


def _exit(message: str, code: int) -> None:
    print(message, file=sys.stderr, flush=True)
    sys.exit(code)
