"""Greedy decoding as evaluation needs it: the likeliest token, whatever the checkpoint adds to its logits."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)
NO_PENALTY = 1.0  # of repeated tokens
# As transformers spells it. The keys of stored replies hold it: another way of decoding asks again.
GREEDY = {"do_sample": False, "repetition_penalty": NO_PENALTY}


def say_penalty(model: str, generation: Any) -> None:
    """Says that a checkpoint's own `repetition_penalty` is left out.

    It makes tokens that the prompt or the reply already holds less likely: digits of a box, the letter of an
    option. MiniCPM-V 2.6 comes with 1.05.

    Args:
        model: Names the model.
        generation: Its generation config; None where it has none.
    """
    own = getattr(generation, "repetition_penalty", None)
    if own is not None and own != NO_PENALTY:
        log.info("%s: repetition_penalty is set to %g instead of the checkpoint's own %g", model, NO_PENALTY, own)
