"""A difference between two figures, its interval, and what may be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNCLEAR = "not distinguishable"


@dataclass(frozen=True, slots=True)
class Gain:
    """A difference in points.

    Attributes:
        delta: The difference; None where one side has no value.
        low: Lower end of its interval; None without one.
        high: Upper end.
    """

    delta: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> str:
        """`gain`, `loss`, `not distinguishable` where the interval holds 0, or empty where there is no interval."""
        if self.low is None or self.high is None:
            return ""
        return "gain" if self.low > 0 else "loss" if self.high < 0 else UNCLEAR

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the verdict."""
        return {"delta": self.delta, "low": self.low, "high": self.high, "verdict": self.verdict}


def format_delta(value: float | None) -> str:
    """A signed number; a dash when there is none."""
    return "–" if value is None else f"{value:+.1f}".replace("-", "−")


def format_interval(gain: Mapping[str, Any]) -> str:
    """The interval of a gain, as `Gain.as_json` gives it; a dash when there is none."""
    return "–" if gain["low"] is None else f"{format_delta(gain['low'])} to {format_delta(gain['high'])}"


def format_gain(gain: Mapping[str, Any], unclear: str = UNCLEAR) -> str:
    """A gain for people: the signed number, or that it is not distinguishable from none."""
    return unclear if gain["verdict"] == UNCLEAR else format_delta(gain["delta"])
