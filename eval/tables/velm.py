"""VELM's published figures of a dataset, for the tables of `scripts.eval_classification`."""

from __future__ import annotations

from collections.abc import Iterable

from eval.tables.published import MEAN, load_published

DDAD = "ddad_gpt_4o"  # the configuration whose predictions are public
MVTEC_AC = "velm.2"
SCORED = ("velm.1", MVTEC_AC, "velm.3")  # one dataset each


def published_scores(dataset: str) -> dict[str, dict[str, float | None]]:
    """Published accuracy, macro_f1 and kappa of DDAD + GPT-4o on a dataset, percent, by category and `mean`.

    Empty for a dataset that the paper does not score; MVTec-AD has only the mean.
    """
    for key in SCORED:
        table = load_published()[key]
        if table.dataset == dataset:
            return {
                name.removeprefix(f"{DDAD}."): row.values
                for name, row in table.rows.items()
                if name.startswith(f"{DDAD}.")
            }
    return {}


def uncovered_categories(dataset: str, categories: Iterable[str]) -> list[str]:
    """Categories that the paper's mean of a dataset is about and that are not among these.

    The paper gives no figures by category for MVTec-AD, whose categories contain those of MVTec-AC.
    """
    own = set(published_scores(dataset)) - {MEAN}
    if not own:
        own = set(published_scores(load_published()[MVTEC_AC].dataset)) - {MEAN}
    return sorted(own - set(categories))
