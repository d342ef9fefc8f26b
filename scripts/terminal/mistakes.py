"""What is wrong with the words of a command line, told in its own terms, before anything heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from data.errors import UserError, suggest
from scripts.terminal.source import UNKNOWN, CommandSource, Setting, example_of

# Hydra's own flags; those of the first set are followed by a value.
WITH_VALUE = {
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    *("--info", "-i", "--experimental-rerun"),
}
FLAGS = WITH_VALUE | {
    *("--resolve", "--run", "-r", "--multirun", "-m", "--shell-completion", "-sc", "--hydra-help", "--version"),
    *("--help", "-h"),
}
FORMS = {  # what a value looks like that is one word
    "whole number": re.compile(r"[+-]?\d[\d_]*"),
    "number": re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE),
    "true or false": re.compile(r"true|false|yes|no|on|off|0|1", re.IGNORECASE),
}


def settings_among(words: Iterable[str]) -> list[str]:
    """The words that set something: without Hydra's own flags and their values."""
    kept, skip = [], False
    for word in words:
        if skip or word.partition("=")[0] in FLAGS:
            skip = not skip and word in WITH_VALUE
        else:
            kept.append(word)
    return kept


def check_words(name: str, words: Iterable[str], source: CommandSource, groups: Mapping[str, list[str]]) -> None:
    """Refuses a word that is no setting of a command, or that gives one a name which it does not take.

    Args:
        name: Name of the command.
        words: Its command line.
        source: What its script says of itself.
        groups: Groups of configs, and settings that take registered names, and what may be chosen of each.

    Raises:
        UserError: Naming the word, and what was probably meant.
    """
    known = {setting.name: setting for setting in source.all()}
    words = settings_among(words)
    for index, word in enumerate(words):
        key, separator, value = word.partition("=")
        typed = key.lstrip("-+")
        key = source.aliases.get(typed, typed)
        if word.startswith("-"):
            value = value or next((other for other in words[index + 1 :][:1] if "=" not in other), "…")
            raise UserError(f"Settings are written without dashes: not {word} but {typed}={value}.{_see(name)}")
        if typed.startswith("~") or "@" in typed or typed.split(".")[0] == "hydra":
            continue
        if not separator:
            meant = f"{typed}=…" if key in known else " or ".join(f"{needed}={word}" for needed in _needed(source))
            raise UserError(f"'{word}' does not say what it sets: write {meant or f'key={word}'}.{_see(name)}")
        if key in groups:
            _check_choice(typed, value, groups[key])
        elif key in known:
            _check_value(key, value, known[key])
        elif not any(known[above].is_free for above in _above(key) if above in known):
            raise UserError(f"scripts.{name} has no setting {typed}.{_meant(typed, known, source.aliases)}{_see(name)}")


def describe_missing(name: str, missing: Iterable[str], source: CommandSource) -> str:
    """What to give a command that lacks settings: an example, and what each is.

    Args:
        name: Name of the command.
        missing: Dotted names of the settings.
        source: What its script says of itself.
    """
    known = {setting.name: setting for setting in source.all()}
    missing = list(missing)
    examples = [f"{key}={example_of(key, source)}" for key in missing]
    usage = source.doc.split("\n")[0].rstrip(".:")
    lines = [f"Give {' and '.join([', '.join(examples[:-1]), examples[-1]] if examples[1:] else examples)}."]
    lines += [f"  {key}: {known[key].meaning}" for key in missing if key in known]
    return "\n".join([*lines, f"  For example: {usage}", f"  All settings: python -m scripts.{name} --help"])


def _check_choice(key: str, value: str, names: list[str]) -> None:
    if ":" in value and any(":" in name for name in names):
        return  # the user's own, or `anomalib:Padim`: whoever loads it knows
    value = value.partition(":")[0]
    if re.fullmatch(r"[\w.-]+", value) and value not in (*names, "null"):
        raise UserError(f"There is no {key}={value}.{suggest(value, names)} Choose one of: {', '.join(names)}.")


def _check_value(key: str, value: str, setting: Setting) -> None:
    """Refuses a name that is none of a setting's; what only Hydra understands is left to it."""
    if setting.kind.startswith("list of {") and not value.startswith(("[", "$", "'", '"')):
        raise UserError(f"{key}={value} is no {setting.kind}: write {key}=[{setting.kind.removeprefix('list of ')}]")
    kind = setting.kind.removesuffix(", or null")
    if kind in FORMS and re.fullmatch(r"[\w.+-]+", value) and value != "null" and not FORMS[kind].fullmatch(value):
        raise UserError(f"{key}={value} must be {'' if kind == 'true or false' else 'a '}{kind}.")
    values = re.fullmatch(r"\[([\w.,\s-]*)\]", value) if setting.kind.startswith("list") else None
    for item in (part.strip() for part in (values[1] if values else value).split(",")):
        if setting.choices and re.fullmatch(r"[\w-]+", item) and item not in (*setting.choices, "null"):
            names = ", ".join(setting.choices)
            raise UserError(f"{key}={value}: '{item}' is none of: {names}.{suggest(item, setting.choices)}")


def _meant(key: str, known: Mapping[str, Setting], aliases: Mapping[str, str]) -> str:
    """Settings of that name in a section, else those that are written alike."""
    within = [name for name in known if name.endswith(f".{key.rpartition('.')[2]}")]
    return suggest(key, within, alike=False) if within else suggest(key, [*known, *aliases])


def _above(key: str) -> Iterator[str]:
    parts = key.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


def _needed(source: CommandSource) -> list[str]:
    """The settings that a command cannot do without, but its preset, which every command has a default for."""
    plain = [setting for setting in source.settings if not setting.inner and setting.name != "preset"]
    return [setting.name for setting in plain if setting.default is UNKNOWN]


def _see(name: str) -> str:
    return f" `python -m scripts.{name} --help` lists the settings."
