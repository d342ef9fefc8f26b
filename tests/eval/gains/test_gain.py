from eval.gains.gain import Gain, format_delta, format_gain, format_interval


def test_only_what_the_interval_tells_from_nothing_is_shown_as_a_gain() -> None:
    for low, high, verdict, shown in (
        (0.1, 0.4, "gain", "+0.2"),
        (-0.4, -0.1, "loss", "+0.2"),
        (-0.1, 0.4, "not distinguishable", "not distinguishable"),
        (0.0, 0.4, "not distinguishable", "not distinguishable"),
        (None, None, "", "+0.2"),
    ):
        told = Gain(0.2, low, high).as_json()
        assert (told["verdict"], format_gain(told)) == (verdict, shown)
    assert format_gain(Gain(0.2, -1, 1).as_json(), "n.d.") == "n.d."


def test_numbers_are_signed() -> None:
    assert (format_delta(1.25), format_delta(-0.5), format_delta(None)) == ("+1.2", "−0.5", "–")
    assert format_interval(Gain(0.2, -1, 2).as_json()) == "−1.0 to +2.0"
    assert format_interval(Gain(0.2).as_json()) == format_gain(Gain().as_json()) == "–"
