"""What the MDLM is told about each image in an evaluation: the real thing, and the controls of the ablation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np

from data.ddqa.compose import FREE_PROMPT
from data.errors import UserError
from data.sample import Sample
from data.training.grounding import DescriptionMode, grounding_prompts


class TextSource(StrEnum):
    """Where the text comes from.

    `eddm`: EDDM's description. `fixed`: one prompt for all images (without EDDM). `oracle`: composed from the
    annotation. `shuffled`: the oracle's texts, each given to another image: a model that reads its text gets worse.
    """

    eddm = "eddm"
    fixed = "fixed"
    oracle = "oracle"
    shuffled = "shuffled"


def evaluation_prompts(
    samples: Sequence[Sample], source: TextSource, descriptions: Mapping[str, str], seed: int
) -> list[str]:
    """The prompt of each sample.

    Args:
        samples: The samples.
        source: Where the text comes from.
        descriptions: EDDM's descriptions by sample id; used by `eddm` alone.
        seed: Seed of `shuffled`.

    Raises:
        UserError: If a description is missing, or a single text cannot be shuffled.
    """
    if source is not TextSource.shuffled:
        return grounding_prompts(samples, DescriptionMode(source.value), descriptions)
    if len(samples) < 2:
        raise UserError("description=shuffled needs at least two images: one text cannot go to another image.")
    prompts = grounding_prompts(samples, DescriptionMode.oracle)
    return [prompts[index] for index in derangement(len(prompts), seed)]


def derangement(count: int, seed: int) -> list[int]:
    """A random permutation without a fixed point (one cycle, Sattolo's algorithm), the same for the same seed."""
    random = np.random.default_rng(seed)
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        other = int(random.integers(last))
        order[last], order[other] = order[other], order[last]
    return order


def shown_description(prompt: str) -> str:
    """The description inside a prompt, without the instruction; empty when the prompt holds none."""
    return prompt.removeprefix(FREE_PROMPT).strip() if prompt.startswith(FREE_PROMPT) else ""
