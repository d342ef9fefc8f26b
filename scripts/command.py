"""From the command line to one typed config: Hydra composes, one call converts, errors stay readable."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data.errors import FullDiskError, UserError, printable, storage_error, suggest
from data.plugins.trust import allow
from data.run import SHIPPED
from scripts.terminal.mistakes import check_words, describe_missing, settings_among
from scripts.terminal.page import compose_page
from scripts.terminal.plugins import take_plugins
from scripts.terminal.source import CommandSource, is_command, list_commands, read_command, read_names

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"
HELP = {"--help", "-h"}
REGISTRIES = {  # how the meaning of a setting begins that takes a name which a file lists, or the user's own
    "Name of the reader": ("data/readers/registry.py", "READERS", ["package.module:function"]),
    "Name of the expert": ("models/experts/load.py", "ExpertName", []),
    "Name of the back end": ("models/chat/config.py", "Backend", []),
}
Config = TypeVar("Config")


def tiny_base(place: str, *, _root_: DictConfig) -> str:
    """What `${tiny_base:mdlm/llava}` stands for: what ships with the code, or with base=train what a run has made."""
    if _root_.get("base") == "train":
        module, _, rest = place.partition("/")
        return "/".join([str(_root_.run_dir), module, "base", *([rest] if rest else [])])
    return str(SHIPPED / place)


OmegaConf.register_new_resolver("tiny_base", tiny_base, replace=True)


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
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(_Formatter("%(message)s"))
            logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended politely is interrupted
            with readable_errors():
                run(to_dataclass(cfg, schema, name))

        entry = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)(main)

        def start() -> None:
            answer_at_once(name, sys.argv[1:])
            sys.argv[1:] = take_plugins(sys.argv[1:])
            sys.argv[1:] = [spell_out(argument, schema, aliases or {}) for argument in sys.argv[1:]]
            with readable_errors():
                _refuse_unreadable(settings_among(sys.argv[1:]))
            entry()

        def parse(arguments: list[str]) -> Config:
            check_line(name, arguments)
            arguments = take_plugins(arguments)
            return compose_config(name, schema, [spell_out(argument, schema, aliases or {}) for argument in arguments])

        start.schema = schema  # type: ignore[attr-defined]  # for the tests that compose every YAML …
        start.parse = parse  # type: ignore[attr-defined]  # … and every command line of the documentation
        return start

    return decorate


def spell_out(argument: str, schema: type, aliases: dict[str, str]) -> str:
    """Writes an argument as Hydra needs it; what is written so already stays as it is.

    An alias becomes its key. A key of a section gets `++`, without which Hydra accepts only names that are in the YAML.
    The value of a text is quoted, and so is each text of a list, whatever spaces, brackets, signs and scripts it holds.
    A list may come without its brackets: `sources=bsdata`, `categories=gear,screw`. Where any value may stand, one
    that means nothing to Hydra is taken for a text.
    """
    key, separator, value = argument.partition("=")
    name = key.lstrip("+")
    if not separator or key.startswith(("~", "-")) or (name not in aliases and (CONFIGS / name).is_dir()):
        return argument
    name = aliases.get(name, name)
    kind, optional = _type_of(name, schema)
    in_section = kind is not None and ("." in name or is_dataclass(kind))
    plus = key[: len(key) - len(key.lstrip("+"))] or ("++" if in_section else "")
    if kind is str and not (optional and value == "null"):
        value = _quote(value)
    elif get_origin(kind) is list and not is_dataclass(get_args(kind)[0]):
        value = _list_of(value, is_text=kind == list[str]) if value and value != "null" else value
    elif kind is Any and not _means_something(f"{name}={value}"):
        value = _quote(value)
    return f"{plus}{name}={value}"


def _list_of(value: str, *, is_text: bool) -> str:
    """A list in brackets, its texts in quotes; what holds brackets or quotes within is left to Hydra."""
    inside = re.fullmatch(r"\[([^\[\]{}'\"]*)\]|([^\[\]{}'\"$]*)", value)
    if inside is None:
        return value
    items = [item.strip() for item in (inside[1] or inside[2] or "").split(",") if item.strip()]
    return f"[{','.join(_quote(item) if is_text else item for item in items)}]"


def _type_of(name: str, schema: type) -> tuple[Any, bool]:
    """Type of a field, by its dotted name, and whether it may be null; (None, False) of what is no field."""
    kind, optional = schema, False
    for part in name.split("."):
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif is_dataclass(kind) and part in (hints := get_type_hints(kind)):
            kind = hints[part]
        else:
            return (Any, False) if kind is Any else (None, False)
        choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
        optional = type(None) in choices
        real = [choice for choice in choices if choice is not type(None)]
        kind = real[0] if len(real) == 1 else kind
    return kind, optional


def _quote(value: str) -> str:
    """A text in quotes, unless it is already, or empty."""
    if not value or (
        len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" and _means_something(f"key={value}")
    ):
        return value
    return QuotedString(text=value, quote=Quote.single).with_quotes()


def _means_something(argument: str) -> bool:
    """Whether Hydra understands an argument as one value."""
    try:
        return not OverridesParser.create().parse_override(argument).is_sweep_override()
    except HydraException:
        return False


def answer_at_once(name: str, words: list[str]) -> None:
    """Ends here, before anything heavy is imported, where words ask for help, or cannot be what was meant.

    Args:
        name: Name of the command.
        words: Its command line.
    """
    with readable_errors():
        if name not in (commands := list_commands()):
            raise UserError(f"scripts.{name} is no command.{suggest(name, commands)} There are {', '.join(commands)}.")
        if HELP & set(words):
            page = help_page(name, words)
        else:
            check_line(name, words)
            return
    try:
        print(page, flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def help_page(name: str, words: list[str]) -> str:
    """What a command's `--help` prints; imports nothing heavy, not even the command.

    Args:
        name: Name of the command.
        words: The other words of its command line, such as `preset=paper`: the page shows the values with them.

    Raises:
        UserError: If a word is no setting of that command.
    """
    source, words = _source(name), take_plugins(words)
    check_words(name, words, source, _groups())
    cfg = _compose(name, _readable(settings_among(words), source), with_groups=True)
    chosen = cfg.hydra.runtime.choices
    choices = _registered(source)
    for setting in source.settings:
        if (group := source.aliases.get(setting.name, setting.name)) in chosen:
            choices[setting.name] = group_names(group)
    shown = {*(setting.name for setting in source.settings), *source.aliases.values(), name}
    groups = {group: str(chosen[group]) for group in chosen if group not in shown and not group.startswith("hydra/")}
    choices |= {group: group_names(group) for group in groups}
    values = OmegaConf.to_container(cfg, resolve=False)
    return compose_page(source, values, choices, groups)  # type: ignore[arg-type]


def group_names(group: str) -> list[str]:
    """What may be chosen of a group of configs; of `data`, without the files that only lead a preset to another one."""
    presets = {path.stem for path in (CONFIGS / "preset").glob("*.yaml")} if group == "data" else set()
    names = sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))
    return [name for name in names if name not in presets or name == "paper"]


def _source(name: str) -> CommandSource:
    return read_command(ROOT / "scripts" / f"{name}.py")


def _registered(source: CommandSource) -> dict[str, list[str]]:
    """The names that some settings take, by the settings' names."""
    return {
        setting.name: read_names(ROOT / file, name) + own
        for setting in source.all()
        for beginning, (file, name, own) in REGISTRIES.items()
        if setting.meaning.startswith(beginning)
    }


def _groups() -> dict[str, list[str]]:
    return {folder.name: group_names(folder.name) for folder in CONFIGS.iterdir() if folder.is_dir()}


def check_line(name: str, words: list[str]) -> None:
    """Checks a command line as far as that is possible without importing the command.

    Args:
        name: Name of the command.
        words: Its command line.

    Raises:
        UserError: If a word is no setting, a name does not exist, or a value that must be given is not.
    """
    source, words = _source(name), take_plugins(words)
    check_words(name, words, source, _groups() | _registered(source))
    if len(settings := settings_among(words)) == len(words):  # else it is Hydra that was asked something
        _check_given(_compose(name, _readable(settings, source)), name)


def _check_given(cfg: DictConfig, name: str) -> None:
    missing = [key for key in cfg if OmegaConf.is_missing(cfg, key)]
    if missing and is_command(ROOT / "scripts" / f"{name}.py"):
        raise UserError(describe_missing(name, map(str, missing), _source(name)))


def to_dataclass(cfg: DictConfig, schema: type[Config], name: str = "") -> Config:
    """Converts a composed config into its dataclass; past this line nobody sees a `DictConfig`.

    The plug-ins that it names are the user's word: they may be imported from now on.

    Args:
        cfg: The composed config.
        schema: The dataclass.
        name: Name of the command, for what its help says about a missing value.

    Raises:
        UserError: If a key is unknown, a mandatory value is missing, or a type is wrong.
    """
    _check_given(cfg, name)
    try:
        config: Config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), cfg))  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        if variable := re.search(r"Environment variable '(\w+)' not found", reason):
            name = variable[1]
            instead = f", or give {error.full_key}=…" if error.full_key else ""
            raise UserError(
                f"Set the environment variable {name} first, for example: export {name}=/path{instead}"
            ) from error
        if key := re.match(r"Key '(\w+)' not in", reason):
            reason += f".{suggest(key[1], get_type_hints(schema))}"
        key_text = f" (key: {error.full_key})" if error.full_key else ""
        raise UserError(f"Bad configuration{key_text}: {reason}") from error
    allow(config)
    return config


def compose_config(name: str, schema: type[Config], overrides: list[str]) -> Config:
    """Another command's configuration, as its own command line would give it.

    Args:
        name: Name of its YAML in `configs/`, without the suffix.
        schema: Its dataclass.
        overrides: Words of its command line.

    Raises:
        UserError: If a word is no setting of that command, or a value is missing or of a wrong type.
    """
    if is_command(script := ROOT / "scripts" / f"{name}.py"):
        check_words(name, overrides, read_command(script), _groups())
    return to_dataclass(_compose(name, [spell_out(word, schema, {}) for word in overrides]), schema, name)


def compose_settings(name: str, overrides: list[str]) -> dict[str, Any]:
    """What another command's line sets, by name, without importing that command.

    Args:
        name: Name of its YAML in `configs/`, without the suffix.
        overrides: Words of its command line.

    Raises:
        UserError: If a word is no setting of that command.
    """
    check_words(name, overrides, source := _source(name), _groups())
    return OmegaConf.to_container(_compose(name, _readable(overrides, source)), resolve=True)  # type: ignore[return-value]


def _compose(name: str, overrides: list[str], *, with_groups: bool = False) -> DictConfig:
    inside = GlobalHydra.instance().is_initialized()  # a benchmark is no command
    ready = nullcontext() if inside else hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS))
    try:
        with ready:
            return hydra.compose(name, overrides, return_hydra_config=with_groups)
    except (HydraException, OmegaConfBaseException) as error:
        _refuse_unreadable(overrides)
        if key := re.search(r"Could not override '([\w/.]+)'", str(error)):
            raise UserError(f"scripts.{name} has no setting {key[1]}. See python -m scripts.{name} --help") from error
        reason = " ".join(str(error).split())
        raise UserError(f"scripts.{name} does not take {' '.join(overrides)}: {reason}") from error


def _refuse_unreadable(words: list[str]) -> None:
    for word in words:
        try:
            OverridesParser.create().parse_override(word)
        except HydraException as error:
            raise UserError(f"Cannot read {word}: a bracket or a quote is open or out of place.") from error


def _readable(words: list[str], source: CommandSource) -> list[str]:
    """Words as Hydra needs them, of a command that is not imported: without the types that `spell_out` goes by."""
    sections = {setting.name for setting in source.all() if setting.inner or "." in setting.name} - _groups().keys()
    spelled = []
    for word in words:
        key, separator, value = word.partition("=")
        key = source.aliases.get(key, key)
        value = value if not separator or _means_something(f"{key}={value}") else _quote(value)
        spelled.append(f"{'++' if key in sections or _is_below_free(key, source) else ''}{key}{separator}{value}")
    return spelled


def _is_below_free(key: str, source: CommandSource) -> bool:
    return "." in key and any(setting.is_free and key.startswith(f"{setting.name}.") for setting in source.all())


class readable_errors:  # noqa: N801  (a context manager, used like a function)
    """Turns user errors, failed writes and Ctrl-C into one message on stderr and an exit code."""

    def __enter__(self) -> None:
        """Does nothing."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Exits with the message, or lets a programming error through with its traceback."""
        if isinstance(error, KeyboardInterrupt):
            _exit("interrupted: finished work is kept; run the same command again to go on.", 130)
        told = error if isinstance(error, UserError) or error is None else storage_error(error)
        if told is not None:
            _exit(f"error: {told}", 1 if isinstance(told, FullDiskError) else 2)


def _exit(message: str, code: int) -> None:
    print(printable(message), file=sys.stderr, flush=True)
    sys.exit(code)


class _Formatter(logging.Formatter):
    """Escapes the control characters of replies and file names."""

    def format(self, record: logging.LogRecord) -> str:
        """The message alone."""
        return printable(super().format(record))
