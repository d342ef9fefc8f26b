"""What a training is made of, so that another one is recognised, and said to be so in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data.files import hash_value

SHOWN = 3


@dataclass(frozen=True, slots=True)
class Identity:
    """All that decides the result of a training stage.

    Attributes:
        settings: Settings by their dotted name, and hashes of other inputs.
        data: Each training image by its id, and a hash of what it shows and of its mask.
    """

    settings: dict[str, Any]
    data: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """One hash of everything."""
        return hash_value(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Settings and data, as JSON holds them."""
        return {"settings": self.settings, "data": self.data}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Identity:
        """The opposite of `as_json`."""
        return cls(value["settings"], value["data"])


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, as texts that survive JSON: `{"loop": {"steps": 2}}` → `{"loop.steps": "2"}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def settings_of(values: Mapping[str, Any], *, without: Sequence[str]) -> dict[str, Any]:
    """Nested settings as `flatten` gives them, without some that do not decide the result.

    Args:
        values: The settings.
        without: Dotted names; one that is a group leaves out all of it: `data` also `data.train`.
    """
    groups = tuple(f"{name}." for name in without)
    return {name: value for name, value in flatten(values).items() if not f"{name}.".startswith(groups)}


def describe_change(old: Identity, new: Identity) -> str:
    """What differs, in words: settings first, with both values."""
    same_data = list(old.data.items()) == list(new.data.items())
    parts = [describe_settings_change(old, new), "" if same_data else describe_data_change(old, new)]
    return "; ".join(part for part in parts if part)


def describe_settings_change(old: Identity, new: Identity) -> str:
    """The settings that differ, in words."""
    names = sorted(n for n in old.settings.keys() | new.settings.keys() if old.settings.get(n) != new.settings.get(n))
    words = [
        f"{n} is {_short(new.settings.get(n))} instead of {_short(old.settings.get(n))}" for n in names[: 2 * SHOWN]
    ]
    return "; ".join(words) + (f"; and {len(names) - 2 * SHOWN} more" if len(names) > 2 * SHOWN else "")


def describe_data_change(old: Identity, new: Identity) -> str:
    """The images that came, went or changed, in words."""
    gone = [name for name in old.data if name not in new.data]
    fresh = [name for name in new.data if name not in old.data]
    changed = [name for name in old.data if name in new.data and old.data[name] != new.data[name]]
    kinds = (("gone", gone), ("new", fresh), ("changed", changed))
    words = [
        f"{len(names)} images are {kind} ({', '.join(names[:SHOWN])}{' …' * (len(names) > SHOWN)})"
        for kind, names in kinds
        if names
    ]
    if not words:
        words = ["their order is another one"]
    return f"{len(old.data)} images then, {len(new.data)} now; " + "; ".join(words)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
