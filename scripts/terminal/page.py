"""The page that `--help` prints: what a command does, and every setting with its meaning, its value and its choices."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.terminal.source import UNKNOWN, CommandSource, Setting, example_of

MANDATORY = "???"
LONGEST = 60  # characters of a value
SPELLED = {"None": "null", "True": "true", "False": "false"}  # in Python and on a command line


def compose_page(
    source: CommandSource, values: Mapping[str, Any], choices: Mapping[str, list[str]], groups: Mapping[str, str]
) -> str:
    """The page of a command.

    Args:
        source: What its script and its schema say.
        values: The composed configuration, nested.
        choices: Further names that settings take, by dotted name: those of groups and registries.
        groups: Names of groups of settings that the command line chooses beside the settings, and what is chosen.
    """
    width = min(shutil.get_terminal_size((100, 24)).columns, 110)
    settings = [setting for setting in source.settings if not setting.inner or setting.name in choices]
    needed = [setting for setting in settings if value_of(setting, values) == MANDATORY]
    lines = [source.doc.strip(), "", "Settings are written key=value, in any order."]
    for title, part in (
        ("Must be given, for example:", needed),
        ("May be given:", [s for s in settings if s not in needed]),
    ):
        lines += ["", title, *_entries(part, source, values, choices, width)] if part else []
    for name, chosen in groups.items():
        lines += _entry(f"{name}={chosen}", f"Settings file of configs/{name}.", "", choices[name], width)
    for setting in (setting for setting in source.settings if setting.inner):
        lines += ["", *textwrap.wrap(f"{setting.name}: {setting.meaning}", width)]
        lines += _entries(setting.all()[1:], source, values, choices, width)
    lines += ["", *textwrap.wrap(f"{PRESETS if 'preset' in choices else ''}{WHOLE}", width)]
    return "\n".join(lines)


PRESETS = "These values are the default preset's; `--help preset=NAME` shows another's. "
WHOLE = (
    "`--cfg job` in place of `--help` prints the whole configuration. "
    "`plugins=[package.module:name]` allows code of your own that only a file of a run names."
)


def value_of(setting: Setting, values: Mapping[str, Any]) -> Any:
    """A setting's value: the configuration's, else the dataclass's own; MANDATORY if there is none."""
    found: Any = values
    for part in setting.name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return MANDATORY if setting.default is UNKNOWN else setting.default
        found = found[part]
    return found


def as_typed(value: Any) -> str:
    """A value as the command line takes it; what another setting or the environment decides, as a person reads it."""
    if isinstance(value, str):
        text = re.sub(r"\$\{oc\.env:(\w+)(?:,[^}]*)?\}", r"$\1", value)
        return re.sub(r"\$\{\.*([\w.]+)\}", r"<\1>", text).replace("\n", "\\n")
    if isinstance(value, list):
        return f"[{','.join(as_typed(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}: {as_typed(item)}' for name, item in value.items())}}}"
    return json.dumps(value)


def _entries(
    settings: list[Setting],
    source: CommandSource,
    values: Mapping[str, Any],
    choices: Mapping[str, list[str]],
    width: int,
) -> Iterator[str]:
    words = {key: word for word, key in source.aliases.items()}
    for setting in settings:
        value = value_of(setting, values)
        key = words.get(setting.name, setting.name) if "." not in setting.name else setting.name
        if setting.inner:
            if setting.name in choices:  # one word chooses them all
                chosen = value.get("name", "…") if isinstance(value, Mapping) else "…"
                yield from _entry(f"{key}={chosen}", setting.meaning, "", choices[setting.name], width)
            elif value is None:
                yield from _entry(f"{key}=null", setting.meaning, "", [], width)
            continue
        text = example_of(key, source) if value == MANDATORY else as_typed(value)
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        names = list(setting.choices) or choices.get(setting.name, [])
        name = f"{key}.NAME=…" if setting.is_free and not value else f"{key}={text}"
        yield from _entry(name, setting.meaning, setting.kind, names, width)


def _entry(head: str, meaning: str, kind: str, names: list[str], width: int) -> Iterator[str]:
    note = f"{'list of' if kind.startswith('list') else 'one of'} {', '.join(names)}" if names else kind
    note = "" if note == "text" else note
    meaning = re.sub(r"\b(None|True|False)\b", lambda word: SPELLED[word[0]], meaning)
    yield from textwrap.wrap(f"  {head}  ({note})" if note else f"  {head}", width, subsequent_indent=" " * 8)
    yield from textwrap.wrap(meaning, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
