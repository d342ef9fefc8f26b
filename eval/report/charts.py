"""The charts of the report: small, quiet SVG drawings as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRID = "#1d2733", "#66717f", "#e3e7ec"
ACCENT, OTHER = "#1f5f99", "#c0762b"
PALETTE = (ACCENT, OTHER, "#5a8f5c", "#8a5a9c")
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "eiad",
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def draw_curves(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, title: str) -> str:
    """Training curves, the raw values faint and their running mean on top.

    Args:
        curves: name → (steps, values); NaN values leave a gap.
        title: What the values are.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 2.5))
        axes = figure.add_subplot()
        _quiet(axes, title)
        for (name, (steps, values)), colour in zip(curves.items(), _colours(len(curves)), strict=True):
            raw = np.asarray(values, float)
            axes.plot(steps, raw, color=colour, alpha=0.22, linewidth=0.8)
            axes.plot(steps, running_mean(raw), color=colour, linewidth=1.6, label=name)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_xlabel("step")
        axes.set_ylim(bottom=0)
        if len(curves) > 1:
            axes.legend(frameon=False, loc="upper right", handlelength=1.2)
        return _data_uri(figure)


def draw_comparison(
    rows: Mapping[str, tuple[float | None, float | None]], *, title: str, names: tuple[str, str], chance: float = 0.0
) -> str:
    """One line a category with two dots: with and without EDDM.

    Args:
        rows: category → (with, without) in percent; None leaves the dot out.
        title: What the values are.
        names: What the two dots mean.
        chance: Left end of the axis: what guessing reaches, in percent; lower values move it.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 0.9 + 0.27 * len(rows)))
        axes = figure.add_subplot()
        _quiet(axes, title)
        places = np.arange(len(rows))[::-1]
        for place, pair in zip(places, rows.values(), strict=True):
            known = [value for value in pair if value is not None]
            if len(known) == 2:
                axes.plot(known, [place, place], color="#c4ccd6", linewidth=2.2, solid_capstyle="round", zorder=1)
        for index, (name, colour) in enumerate(zip(names, (ACCENT, OTHER), strict=True)):
            points = [
                (pair[index], p) for pair, p in zip(rows.values(), places, strict=True) if pair[index] is not None
            ]
            if points:
                x, y = zip(*points, strict=True)
                face = colour if index == 0 else "white"
                axes.scatter(x, y, s=34, facecolor=face, edgecolor=colour, linewidth=1.5, zorder=3 - index, label=name)
        axes.set_yticks(places, [name.replace("_", " ") for name in rows], color=INK)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        least = min([value for pair in rows.values() for value in pair if value is not None], default=chance)
        axes.set_xlim(min(chance, 10 * (least // 10)) - 1, 101.5)
        axes.xaxis.set_major_formatter("{x:g}")
        if len(axes.get_legend_handles_labels()[0]) > 1:
            axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.02, 1.0), ncols=2, handletextpad=0.2)
        return _data_uri(figure)


def draw_sizes(series: Mapping[str, Sequence[float]], *, title: str) -> str:
    """A stacked histogram of shares over a logarithmic axis.

    Args:
        series: name → values in 0..1, each above 0.
        title: What the values are; the axis is in percent.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 2.7))
        axes = figure.add_subplot()
        _quiet(axes, title)
        values = [100 * np.asarray(found, float) for found in series.values()]
        least, most = min(found.min() for found in values), max(found.max() for found in values)
        edges = np.geomspace(least * 0.999, max(most, least * 1.1) * 1.001, 31)
        axes.hist(
            values, bins=edges.tolist(), stacked=True, color=_colours(len(series)), label=list(series), rwidth=0.92
        )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_ylabel("images")
        if len(series) > 1:
            axes.legend(frameon=False, handlelength=1.0)
        return _data_uri(figure)


def draw_bars(series: Mapping[str, Mapping[str, int]], *, title: str, upright: bool = False) -> str:
    """Stacked bars with their totals.

    Args:
        series: name → entry → count; entries keep the order in which they first occur.
        title: What is counted.
        upright: Draws columns instead of rows.
    """
    entries = list(dict.fromkeys(entry for counts in series.values() for entry in counts))
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 2.7 if upright else 0.6 + 0.26 * len(entries)))
        axes = figure.add_subplot()
        _quiet(axes, title)
        places = np.arange(len(entries)) if upright else np.arange(len(entries))[::-1]
        base = np.zeros(len(entries))
        for (name, counts), colour in zip(series.items(), _colours(len(series)), strict=True):
            lengths = np.array([counts.get(entry, 0) for entry in entries], float)
            if upright:
                axes.bar(places, lengths, bottom=base, color=colour, width=0.72, label=name)
            else:
                axes.barh(places, lengths, left=base, color=colour, height=0.72, label=name)
            base += lengths
        for place, total in zip(places, base, strict=True):
            where = (place, total) if upright else (total, place)
            align: Any = {"ha": "center", "va": "bottom"} if upright else {"ha": "left", "va": "center"}
            offset = (0, 2) if upright else (3, 0)
            axes.annotate(f"{total:,.0f}", where, offset, textcoords="offset points", color=MUTED, fontsize=8, **align)
        if upright:
            axes.set_xticks(places, entries, color=INK)
            axes.set_yticks([])
        else:
            axes.set_yticks(places, [entry.replace("_", " ") for entry in entries], color=INK)
            axes.set_xticks([])
            axes.set_ylim(-0.7, len(entries) - 0.3)
        if len(series) > 1:
            axes.legend(frameon=False, handlelength=1.0, loc="best")
        return _data_uri(figure)


def running_mean(values: np.ndarray) -> np.ndarray:
    """Centred mean over about a twentieth of the curve, (n,) → (n,); NaN values do not count."""
    half = min(max(1, len(values) // 40), (len(values) - 1) // 2)
    known = np.isfinite(values)
    kernel = np.ones(2 * half + 1)
    total = np.convolve(np.where(known, values, 0.0), kernel, "same")[: len(values)]
    count = np.convolve(known.astype(float), kernel, "same")[: len(values)]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _colours(count: int) -> list[str]:
    return [PALETTE[index % len(PALETTE)] for index in range(count)]


def _quiet(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold", color=INK)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _data_uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.04, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
