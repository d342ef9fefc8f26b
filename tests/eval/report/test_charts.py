from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree

import numpy as np

from eval.report.charts import draw_comparison, draw_curves, running_mean


def svg_text(uri: str) -> str:
    assert uri.startswith("data:image/svg+xml;base64,")
    text = base64.b64decode(uri.split(",")[1]).decode()
    ElementTree.fromstring(text)
    return text


def test_curves_name_what_they_show() -> None:
    curves = {"eddm": (range(100), np.linspace(2, 1, 100)), "fixed": (range(100), [float("nan")] * 100)}
    text = svg_text(draw_curves(curves, title="MDLM: loss"))
    assert all(word in text for word in ("MDLM: loss", "eddm", "fixed", "step"))


def test_comparison_survives_missing_values() -> None:
    rows = {"hex_nut": (90.0, 80.0), "pill": (None, 70.0), "tile": (None, None)}
    text = svg_text(draw_comparison(rows, title="F1", names=("with", "without")))
    assert all(word in text for word in ("hex nut", "pill", "tile", "without"))
    svg_text(draw_comparison({"tile": (None, None)}, title="F1", names=("with", "without")))


def test_charts_are_reproducible() -> None:
    rows = {"pill": (90.0, 80.0)}
    first = draw_comparison(rows, title="F1", names=("with", "without"))
    assert first == draw_comparison(rows, title="F1", names=("with", "without"))


def test_running_mean() -> None:
    assert np.allclose(running_mean(np.ones(200)), 1)
    assert running_mean(np.array([3.0])).tolist() == [3]
    assert np.allclose(running_mean(np.array([1.0, np.nan, 3.0])), [1, 2, 3])
