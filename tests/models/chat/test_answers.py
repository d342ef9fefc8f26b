import pytest

from models.chat.answers import box_iou, parse_box, parse_letter, strip_thinking


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("A", 0),
        (" B ", 1),
        ("(C)", 2),
        ("D.", 3),
        ("B. top left", 1),
        ("<think>\n\n</think>\n\nB", 1),
        ("E", None),
        ("b", None),
        ("", None),
        ("AB", None),
        ("A or B", None),
        ("The answer is B", None),
        ("Bottom", None),
    ],
)
def test_a_letter_is_read_strictly(reply: str, choice: int | None) -> None:
    assert parse_letter(reply, 4) == choice


@pytest.mark.parametrize(
    ("reply", "box"),
    [
        ("[0.415, 0.737, 0.473, 0.800]", (0.415, 0.737, 0.473, 0.8)),
        ("Here: [0,0,1,1].", (0.0, 0.0, 1.0, 1.0)),
        ("[0.5, 0.5, 0.4, 0.9]", None),
        ("[0.5, 0.5, 1.2, 0.9]", None),
        ("[0.1, 0.2, 0.3]", None),
        ("[0.1, 0.2, 0.3, 0.4] or [0.2, 0.2, 0.3, 0.4]", None),
        ("0.1, 0.2, 0.3, 0.4", None),
    ],
)
def test_a_box_is_read_strictly(reply: str, box: tuple[float, ...] | None) -> None:
    assert parse_box(reply) == box


def test_what_stands_before_the_end_of_thoughts_is_no_answer() -> None:
    assert strip_thinking("<think>\nwell\n</think>\n\nA") == "A"
    assert strip_thinking("The ring looks sound, B.\n</think>\n\nA") == "A"
    assert strip_thinking("<think>a</think>\n<think>B</think>A") == "A"
    assert strip_thinking("A <think></think>") == ""
    assert parse_letter("B</think>", 4) is None
    assert parse_letter("<think>B", 4) is None


def test_box_iou() -> None:
    assert box_iou((0, 0, 0.5, 1), (0, 0, 0.5, 1)) == 1
    assert box_iou((0, 0, 0.5, 1), (0.5, 0, 1, 1)) == 0
    assert box_iou((0, 0, 0.5, 1), (0.25, 0, 0.75, 1)) == pytest.approx(1 / 3)
