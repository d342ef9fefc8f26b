"""Chooses one of many names: in rounds of questions with four options, or all at once by the likelihoods of letters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

ROUND = 4  # options a question, as DDQA asks
Options = Sequence[str]


def knock_out(names: Options, count: int, ask: Callable[[Sequence[Options]], list[int | None]]) -> list[str | None]:
    """Finds the best of many names in rounds: the winner of a question meets the next three names.

    A question whose reply cannot be read keeps the standing winner; if no reply can be read at all, the answer is None.

    Args:
        names: All candidates.
        count: How many images are asked about.
        ask: From the options of each image to the index of the chosen one, or None.
    """
    winners: list[str | None] = [None] * count
    waiting = list(names)
    opening = True
    while waiting and count:
        size = ROUND if opening else ROUND - 1
        challengers, waiting = waiting[:size], waiting[size:]
        beaten = [name for name in names if name not in challengers and name not in waiting]
        rounds = []
        for winner in winners:
            known = [winner] if winner is not None else []
            options = known + challengers
            options += [name for name in beaten if name not in options][: ROUND - len(options)]
            rounds.append(sorted(options, key=list(names).index))
        for index, choice in enumerate(ask(rounds)):
            winners[index] = rounds[index][choice] if choice is not None else winners[index]
        opening = False
    return winners


def compare_all(
    names: Options, count: int, score: Callable[[Sequence[Sequence[Options]]], list[list[list[float]]]]
) -> list[str | None]:
    """Finds the best of many names in two passes, however many there are; None where there are no names.

    The first pass asks every question about an image at once. Each holds the first name and three others, so that names
    which never meet can be compared: by how much likelier their letter is than that of the first name. The second one
    asks for the best of the four that are ahead.

    Args:
        names: All candidates.
        count: How many images are asked about.
        score: From the options of each question about each image to the logits of their letters.
    """
    if not names or not count:
        return [None] * count
    questions = _meet_first(names)
    last = [list(names)] * count
    if len(names) > ROUND:
        last = [_ahead(names, questions, logits) for logits in score([questions] * count)]
    finals = score([[options] for options in last])
    return [options[logits.index(max(logits))] for options, (logits,) in zip(last, finals, strict=True)]


def _meet_first(names: Options) -> list[Options]:
    """The questions of the first pass: each name at least once, the first one in all of them."""
    first, others = names[0], names[1:]
    questions: list[Options] = []
    for start in range(0, len(others), ROUND - 1):
        group = list(others[start : start + ROUND - 1])
        group += [name for name in others if name not in group][: ROUND - 1 - len(group)]
        questions.append([first, *sorted(group, key=others.index)])
    return questions


def _ahead(names: Options, questions: Sequence[Options], logits: Sequence[Sequence[float]]) -> list[str]:
    """The four names that are likeliest beside the first, in the order of all."""
    lead = dict.fromkeys(names, -math.inf) | {names[0]: 0.0}
    for options, row in zip(questions, logits, strict=True):
        for name, logit in zip(options[1:], row[1:], strict=True):
            lead[name] = max(lead[name], logit - row[0])
    best = sorted(names, key=lambda name: -lead[name])[:ROUND]
    return sorted(best, key=list(names).index)
