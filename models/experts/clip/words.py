"""The texts that each zero-shot method compares an image with, by its own definition (`words.yaml`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

PLACE = "{}"


@dataclass(frozen=True, slots=True)
class Texts:
    """What a sound and a damaged product are called.

    Attributes:
        normal: Texts of the sound product.
        abnormal: Texts of the damaged one.
    """

    normal: list[str]
    abnormal: list[str]


def winclip_texts(category: str) -> Texts:
    """7 × 22 texts of a sound and 4 × 22 of a damaged product."""
    words = _words()["winclip"]
    return _fill(category, words, words["templates"])


def anoclip_texts(category: str) -> Texts:
    """7 × 66 texts of each state, without a full stop; the domains of textures are others than those of objects."""
    words = _words()["anoclip"]
    name = readable(category)
    kind = "texture" if any(name == one or name.endswith(f" {one}") for one in words["textures"]) else "object"
    domains = words["domains"][kind]
    templates = [_in_domain(text.removesuffix("."), domain) for domain in domains for text in words["templates"]]
    return _fill(category, words, templates)


def clip_surgery_texts(category: str) -> Texts:
    """WinCLIP's states in 85 general templates: 7 × 85 and 4 × 85 texts."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES  # slow to import

    templates = [template(PLACE) for template in OPENAI_IMAGENET_TEMPLATES]
    return _fill(category, _words()["winclip"], [*templates, *_words()["clip_surgery"]["extra_templates"]])


def readable(category: str) -> str:
    """A category as a noun: `metal_nut` is a metal nut."""
    return category.replace("_", " ").strip()


def _in_domain(template: str, domain: str) -> str:
    """A template about another kind of picture; a domain that begins with a vowel takes "an"."""
    article = "an" if domain[0] in "aeiou" else "a"
    return re.sub(r"^a photo|photo", lambda found: f"{article} {domain}" if " " in found[0] else domain, template)


def _fill(category: str, words: dict[str, Any], templates: list[str]) -> Texts:
    def texts(states: list[str]) -> list[str]:
        named = [state.replace(PLACE, readable(category)) for state in states]
        return [template.replace(PLACE, state) for state in named for template in templates]

    return Texts(texts(words["normal"]), texts(words["abnormal"]))


@cache
def _words() -> dict[str, Any]:
    words: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
    return words
