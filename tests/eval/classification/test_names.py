import pytest

from data.classes.texts import ClassText, Product
from data.errors import UserError
from eval.classification.names import ClassNames, Names

PRODUCT = Product("nut", "A nut.", "", (ClassText("small-hole", "pinhole", "h"), ClassText("b_c", "Bent rim", "b")))


@pytest.mark.parametrize(
    ("reply", "normalised", "published"),
    [
        ("pinhole", "small-hole", "small-hole"),
        ("Bent Rim", "b_c", "b_c"),
        ("good", "good", "good"),
        ("Pinholes.", "small-hole", "unknown"),
        ("bent-rim", "b_c", "unknown"),
        ("small-hole", "unknown", "unknown"),  # the key is not what the model was asked to say
        ("pinhole or bent rim", "unknown", "unknown"),
        ("el agujero", "unknown", "unknown"),
        ("", "unknown", "unknown"),
    ],
)
def test_replies(reply: str, normalised: str, published: str) -> None:
    assert ClassNames(PRODUCT, Names.normalised, "f").read_reply(reply) == normalised
    assert ClassNames(PRODUCT, Names.published, "f").read_reply(reply) == published


def test_truth() -> None:
    assert ClassNames(PRODUCT, Names.normalised, "f").read_truth("small_holes") == "small-hole"
    assert ClassNames(PRODUCT, Names.published, "f").read_truth("small_holes") == "small_holes"
    for names in Names:
        assert ClassNames(PRODUCT, names, "f").read_truth("good") == "good"
        with pytest.raises(UserError, match="Class without a description: 'rust' of category 'nut' is not in f"):
            ClassNames(PRODUCT, names, "f").read_truth("rust")
