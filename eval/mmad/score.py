"""MMAD's tables from answers, each figure with its 95 % confidence interval."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.mmad import ANOMALY_DETECTION, COLUMNS, TYPES
from eval.mmad.answers import Answer

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
ANOMALY = TYPES[ANOMALY_DETECTION]
FIGURES = (*COLUMNS, "average", "overkill", "miss", "unparsable")


@dataclass(frozen=True, slots=True)
class Figure:
    """A share, or a mean of shares, with what its variance needs.

    The questions of an image are not independent, and one image counts in several columns. So the variance is that of
    a sum over images: each image's influence is how far it moves the figure. Means of figures are means of influences,
    which keeps every correlation. The interval is Wilson's at the effective sample size value·(1 − value) / variance
    (Korn and Graubard, Survey Methodology 24, 1998), so it stays inside 0..1 and is honest at 0 and 1.

    Attributes:
        value: 0..1.
        influence: (I,), one entry an image of the whole table; sums to about 0.
        extra: Variance of parts that are exactly 0 or 1, whose influences vanish.
        images: Smallest number of images behind a part.
    """

    value: float
    influence: NDArray[np.float64]
    extra: float
    images: int

    def interval(self) -> tuple[float, float]:
        """Limits, 0..1."""
        share = self.value
        size = float(self.images)
        if 0 < share < 1:
            used = max(int(np.count_nonzero(self.influence)), 2)
            variance = float((self.influence**2).sum()) * used / (used - 1) + self.extra
            size = share * (1 - share) / variance if variance > 0 else size
        centre = (share + Z**2 / (2 * size)) / (1 + Z**2 / size)
        half = Z * math.sqrt(share * (1 - share) / size + (Z / (2 * size)) ** 2) / (1 + Z**2 / size)
        return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def proportion(hits: Sequence[bool], places: Sequence[int], images: int) -> Figure | None:
    """A share of questions; None of none.

    Args:
        hits: Whether each question counts.
        places: Index of each question's image.
        images: Number of images of the table.
    """
    if not hits:
        return None
    right = np.asarray(hits, np.float64)
    value = float(right.sum() / right.size)
    influence = np.zeros(images)
    np.add.at(influence, np.asarray(places), (right - value) / right.size)
    count = len(set(places))
    extra = 0.0
    if value in (0.0, 1.0):
        shrunk = (value * count + Z**2 / 2) / (count + Z**2)
        extra = shrunk * (1 - shrunk) / count
    return Figure(value, influence, extra, count)


def mean_figure(figures: Sequence[Figure | None]) -> Figure | None:
    """Mean of those that exist; None of none."""
    known = [figure for figure in figures if figure is not None]
    if not known:
        return None
    return Figure(
        float(np.mean([figure.value for figure in known])),
        np.mean([figure.influence for figure in known], axis=0),
        sum(figure.extra for figure in known) / len(known) ** 2,
        min(figure.images for figure in known),
    )


def score_answers(answers: Sequence[Answer]) -> dict[str, Any]:
    """The honest tables, in percent.

    Per dataset and category: AD is the mean of the accuracies on normal and on abnormal images, every other column
    plain accuracy; the average is the mean of the columns; the mean is over datasets. A reply that cannot be read is
    wrong and counted. `overkill` is the share of normal images called defective and `miss` of abnormal ones called
    normal; a reply that cannot be read is in neither. A column without questions is None, named in `missing`, and
    left out of the average; so is AD where only normal or only abnormal images were asked about.

    Returns:
        `{"mean": {…}, "datasets": {name: {…, "categories": {name: {…}}}}}`; each table holds the figures of `FIGURES`,
        `interval` with [low, high] of each, `questions` and `missing`.
    """
    index = {key: place for place, key in enumerate(dict.fromkeys(answer.image for answer in answers))}
    datasets, tables = {}, []
    for dataset, members in _split(answers, lambda answer: answer.dataset).items():
        table = figures_of(members, index)
        tables.append(table)
        categories = {
            category: in_percent(figures_of(some, {key: i for i, key in enumerate({a.image: 0 for a in some})}), some)
            for category, some in sorted(_split(members, lambda answer: answer.category).items())
        }
        datasets[dataset] = in_percent(table, members) | {"categories": categories}
    mean = {name: mean_figure([table[name] for table in tables]) for name in FIGURES}
    return {"mean": in_percent(mean, answers), "datasets": dict(sorted(datasets.items()))}


def figures_of(answers: Sequence[Answer], index: dict[str, int]) -> dict[str, Figure | None]:
    """All figures of one table; `index` gives the place of each image."""

    def share(test: Callable[[Answer], bool], among: Sequence[Answer]) -> Figure | None:
        return proportion([test(answer) for answer in among], [index[answer.image] for answer in among], len(index))

    def is_right(answer: Answer) -> bool:
        return answer.choice == answer.truth

    def is_wrong(answer: Answer) -> bool:
        return answer.choice is not None and answer.choice != answer.truth

    columns = _split(answers, lambda answer: answer.column)
    normal = [answer for answer in columns.get(ANOMALY, []) if answer.is_normal]
    abnormal = [answer for answer in columns.get(ANOMALY, []) if not answer.is_normal]
    table = {column: share(is_right, columns.get(column, [])) for column in COLUMNS}
    halves = [share(is_right, normal), share(is_right, abnormal)]
    table[ANOMALY] = mean_figure(halves) if normal and abnormal else None
    table["average"] = mean_figure([table[column] for column in COLUMNS])
    table["overkill"] = share(is_wrong, normal)
    table["miss"] = share(is_wrong, abnormal)
    table["unparsable"] = share(lambda answer: answer.choice is None, answers)
    return table


def in_percent(table: dict[str, Figure | None], answers: Sequence[Answer]) -> dict[str, Any]:
    """A table for people and JSON."""
    values: dict[str, Any] = {name: None if figure is None else 100 * figure.value for name, figure in table.items()}
    values["interval"] = {
        name: None if figure is None else [100 * limit for limit in figure.interval()] for name, figure in table.items()
    }
    values["questions"] = len(answers)
    values["missing"] = [column for column in COLUMNS if table.get(column) is None]
    return values


def _split(answers: Sequence[Answer], key: Callable[[Answer], str]) -> dict[str, list[Answer]]:
    parts: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        parts[key(answer)].append(answer)
    return parts
