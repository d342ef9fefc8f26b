"""From class to action: what a product's owner wants done with each class (`data/classes/policies/template.yaml`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from data.classes.texts import GOOD, Product, plain_name, read_unique_yaml
from data.errors import UserError, brief

UNKNOWN = "unknown"  # no class was named


class Action(StrEnum):
    """What happens to a piece; `accept` is written `pass`, a word that Python keeps for itself."""

    accept = "pass"
    rework = "rework"
    scrap = "scrap"
    ask = "ask"


@dataclass(frozen=True, slots=True)
class Decision:
    """An action and why.

    Attributes:
        action: What happens to the piece.
        reason: The class and the rule, in words.
    """

    action: Action
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """The actions of one category.

    Attributes:
        category: Its name.
        actions: Class key, `good` or `unknown` → action.
        reasons: Class key → the owner's reason, where one is given.
    """

    category: str
    actions: Mapping[str, Action]
    reasons: Mapping[str, str]

    def decide(self, key: str) -> Decision:
        """What to do with a piece of a class; a class that is not listed is asked about."""
        action = self.actions.get(key, self.actions[UNKNOWN])
        what = {GOOD: "no defect found", UNKNOWN: "no class could be named"}.get(key, f"class '{key}'")
        why = f": {self.reasons[key]}" if key in self.reasons else ""
        return Decision(action, f"{what}; the policy of '{self.category}' says {action.value}{why}")


def load_policy(path: Path, product: Product) -> Policy:
    """Reads the policy of one product.

    Raises:
        UserError: If the file is missing or malformed, has no such category, a class has no action, or an action or
            class is unknown.
    """
    entries = read_unique_yaml(path)
    entry = entries.get(product.category)
    where = f"{path}, category '{product.category}'"
    if not isinstance(entry, dict):
        known = ", ".join(map(str, entries)) or "none"
        raise UserError(f"No policy of '{product.category}' in {path}; it has {known}. Add it there.")
    keys = {plain_name(one.key): one.key for one in product.classes} | {GOOD: GOOD, UNKNOWN: UNKNOWN}
    actions = {GOOD: Action.accept, UNKNOWN: Action.ask}
    reasons = {}
    for name, value in entry.items():
        key = keys.get(plain_name(str(name)))
        if key is None:
            raise UserError(f"Unknown class '{name}' in {where}. It has: {', '.join(keys.values())}.")
        actions[key], because = _read_rule(value, f"{where}, class '{name}'")
        if because:
            reasons[key] = because
    if actions[UNKNOWN] is Action.accept:
        raise UserError(f"'unknown: pass' in {where} would let pass what nobody could name. Write ask or scrap.")
    if missing := [key for key in keys.values() if key not in actions]:
        raise UserError(f"No action for {', '.join(missing)} in {where}. Write pass, rework, scrap or ask.")
    return Policy(product.category, actions, reasons)


def _read_rule(value: Any, where: str) -> tuple[Action, str]:
    rule = value if isinstance(value, dict) else {"action": value}
    if unknown := sorted(set(rule) - {"action", "because"}):
        raise UserError(f"Unknown keys {unknown} in {where}. Known keys: action, because.")
    action = rule.get("action")
    if action not in list(Action):
        raise UserError(f"Unknown action {brief(action)} in {where}. Choose from {', '.join(Action)}.")
    return Action(action), str(rule.get("because", ""))
