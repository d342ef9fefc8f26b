from data.errors import brief, printable


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert printable("a\x1b[31mb\x07\r\x9b\u202e\x7f") == r"a\x1b[31mb\x07\r\x9b\u202e\x7f"
    assert printable("two\nlines\tand ü 零件") == "two\nlines\tand ü 零件"


def test_what_is_quoted_is_short() -> None:
    assert brief("washer") == "'washer'"
    nested = [["x" * 1000] * 1000] * 1000
    assert len(brief(nested)) < 250 and len(brief("x" * 10**6)) < 130
