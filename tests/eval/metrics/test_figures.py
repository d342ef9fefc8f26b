import pytest

from eval.metrics.figures import format_figure, mean_known, percent


def test_what_has_no_value_is_left_out_and_shown_as_a_dash() -> None:
    assert mean_known([1.0, None, 2.0]) == 1.5
    assert mean_known([None]) is None and mean_known([]) is None
    assert percent(None) is None
    assert percent(0.25) == pytest.approx(25.0) and percent(0.0) == 0.0
    assert format_figure(None) == "–"
    assert (format_figure(12.34), format_figure(12.346, 2)) == ("12.3", "12.35")
