"""What a product looks like and which anomaly classes it has, in words: one file a dataset, edited by its users.

YAML, one entry a category; `normal` and `classes` are required, `strategy` is optional:

```yaml
bottle:
  normal: The mouth of a glass bottle seen from above; its rim is a closed ring.
  strategy: Look at the rim first, then inside.
  classes:
    broken_large:                    # as the dataset calls the defect
      name: broken large             # as the model is asked to call it
      description: More than a fifth of the rim has broken off.
```

VELM's own files (`*_des.json`) are read as they are: category → {"normal": [text], class: [name, description]}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data.errors import UserError, brief
from data.files import PlainLoader, missing_file, parse_yaml

GOOD = "good"  # the class of a normal image, in files, prompts and replies


@dataclass(frozen=True, slots=True)
class ClassText:
    """One anomaly class.

    Attributes:
        key: As the dataset calls it, e.g. `broken_large`.
        name: As the model is asked to call it.
        description: How to recognise it.
    """

    key: str
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Product:
    """One category in words.

    Attributes:
        category: Its name in the dataset.
        normal: What a normal one looks like.
        strategy: How to tell the classes apart; empty where there is none.
        classes: Its anomaly classes, in the order of the file.
    """

    category: str
    normal: str
    strategy: str
    classes: tuple[ClassText, ...]


def load_products(path: Path) -> dict[str, Product]:
    """Reads a class description file, YAML or VELM's JSON, by category in the order of the file.

    Whoever asks a model by these texts calls `check_descriptions` too; scoring replies only needs the names.

    Raises:
        UserError: If the file is missing or malformed, a text is missing or empty, a key occurs twice, or two classes
            of a category share their name (up to spelling, see `plain_name`).
    """
    entries = _read_mapping(path)
    if not entries:
        raise UserError(f"No categories in {path}. data/classes/template.yaml shows the format.")
    read = _read_velm_json if path.suffix.lower() == ".json" else _read_entry
    products = {}
    for category, entry in entries.items():
        where = f"{path}, category '{category}'"
        product = read(category, _mapping(entry, where), where)
        _check_names(product, where)
        products[category] = product
    return products


def plain_name(name: str) -> str:
    """Spelling that does not matter is removed: case, `-`, `_`, spaces, punctuation at the ends, plural `s`.

    >>> plain_name("Small-Holes.")
    'small hole'
    """
    words = re.split(r"[\s_\-]+", re.sub(r"^[\W_]+|[\W_]+$", "", name.casefold()))
    return " ".join(word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] != "s" else word for word in words)


def _read_entry(category: str, entry: dict[str, Any], where: str) -> Product:
    if unknown := sorted(set(entry) - {"normal", "strategy", "classes"}):
        raise UserError(f"Unknown keys {unknown} in {where}. Known keys: normal, strategy, classes.")
    classes = []
    for key, value in _mapping(entry.get("classes"), f"{where}, classes").items():
        at = f"{where}, class '{key}'"
        text = _mapping(value, at)
        if unknown := sorted(set(text) - {"name", "description"}):
            raise UserError(f"Unknown keys {unknown} in {at}. Known keys: name, description.")
        name = _text(text.get("name", key.replace("_", " ")), "name", at)
        classes.append(ClassText(key, name, _text(text.get("description"), "description", at)))
    strategy = _text(entry["strategy"], "strategy", where) if entry.get("strategy") else ""
    return Product(category, _text(entry.get("normal"), "normal", where), strategy, tuple(classes))


def _read_velm_json(category: str, entry: dict[str, Any], where: str) -> Product:
    """VELM puts the strategy behind the normal description, in one text."""
    classes = []
    for key, texts in entry.items():
        if key == "normal":
            continue
        at = f"{where}, class '{key}'"
        if not isinstance(texts, list) or len(texts) != 2:
            raise UserError(f"Not a name and a description: {texts!r} in {at}. Write [name, description].")
        classes.append(ClassText(key, _text(texts[0], "name", at), _text(texts[1], "description", at)))
    normal = entry.get("normal")
    text = normal[0] if isinstance(normal, list) and len(normal) == 1 else normal
    return Product(category, _text(text, "normal", where), "", tuple(classes))


def shared_descriptions(products: dict[str, Product]) -> list[tuple[str, str, str]]:
    """Pairs of classes that share their description: (category, class, class). VELM's MVTec-AD file has one."""
    found = []
    for product in products.values():
        described: dict[str, str] = {}
        for entry in product.classes:
            other = described.setdefault(" ".join(entry.description.casefold().split()), entry.key)
            if other != entry.key:
                found.append((product.category, other, entry.key))
    return found


def check_descriptions(products: dict[str, Product], path: Path) -> None:
    """Refuses descriptions by which no model could tell two classes apart.

    Raises:
        UserError: If two classes of a category share their description.
    """
    for category, first, second in shared_descriptions(products):
        raise UserError(
            f"The same description for '{first}' and '{second}' in {path}, category '{category}'. Say how they differ."
        )


def _check_names(product: Product, where: str) -> None:
    if not product.classes:
        raise UserError(f"No anomaly classes in {where}. Add at least one.")
    taken = {GOOD: GOOD, "normal": GOOD}
    for entry in product.classes:
        other = taken.setdefault(plain_name(entry.name), entry.key)
        if other != entry.key or entry.key == GOOD:
            raise UserError(f"The same name for '{other}' and '{entry.key}' in {where}: {entry.name!r}. Change one.")


def _text(value: object, what: str, where: str) -> str:
    if value is None or value == "":
        raise UserError(f"Missing {what} in {where}. Write one.")
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"Not a text: {what} is {brief(value)} in {where}. Write a sentence, in quotes.")
    return value.strip()


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"Not a mapping: {where} holds {brief(value)}. data/classes/template.yaml shows the format.")
    return {str(key): entry for key, entry in value.items()}


def _read_mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"Missing class descriptions: {path}. data/classes/template.yaml shows the format.")
    return read_unique_json(path) if path.suffix.lower() == ".json" else read_unique_yaml(path)


def read_unique_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML mapping and refuses keys that occur twice, of which YAML would quietly keep the last, and aliases.

    Raises:
        UserError: If the file is missing, is not a YAML mapping, repeats a key, or has an alias.
    """
    return _mapping(parse_yaml(_read_text(path), path, _UniqueLoader), str(path))


def read_unique_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object and refuses keys that occur twice, of which JSON would quietly keep the last.

    Raises:
        UserError: If the file is missing, is not a JSON object, or repeats a key.
    """

    def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise UserError(f"Key written twice: {brief(key)} in {path}. Remove one.")
            found[key] = value
        return found

    try:
        value = json.loads(_read_text(path), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise UserError(f"Not valid JSON: {path}, line {error.lineno}: {error.msg}. Repair it.") from error
    except RecursionError as error:
        raise UserError(f"Not valid JSON: {path} is nested too deep. Repair it.") from error
    return _mapping(value, str(path))


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise missing_file(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"Not UTF-8 text: {path}, byte {error.start}. Save it as UTF-8.") from error


class _UniqueLoader(PlainLoader):
    """Refuses keys that occur twice, of which YAML would quietly keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"Key written twice: {brief(key)} in line {line}")
            seen.add(key)
        return super().construct_mapping(node, deep)
