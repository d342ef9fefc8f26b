"""What a description claims."""

import pytest

from data.ddqa.compose import compose_description
from data.ddqa.regions import REGIONS
from eval.words.claim import Claim, read_claim


@pytest.mark.parametrize("category", [None, "metal_nut"])
@pytest.mark.parametrize("region", [None, *REGIONS])
@pytest.mark.parametrize("defect", ["crack", "missing part", "oil", "zipper_teeth", "scratch and dent"])
def test_structured_descriptions_are_read_to_the_letter(category: str | None, region: str | None, defect: str) -> None:
    claim = read_claim(compose_description(category, defect, region))
    assert (claim.present, claim.region, claim.name) == (True, region, defect)


def test_kinds_are_what_the_vocabulary_takes_a_name_for() -> None:
    def kinds(name: str) -> frozenset[str]:
        return read_claim(compose_description(None, name, "top")).kinds

    assert kinds("contamination") & kinds("oil") and not kinds("oil") & kinds("crack")
    assert kinds("scratch and dent") & kinds("scratches") and kinds("scratch and dent") & kinds("bump")


def test_a_sound_product_is_sound() -> None:
    assert read_claim(compose_description("gear", None, None)) == Claim(present=False)


@pytest.mark.parametrize(
    ("text", "present", "region", "kind"),
    [
        ("A metal nut with a deep scratch on the top left side.", True, "top left", "scratch"),
        ("The nut is silver. It has no visible damage or scratches.", False, None, None),
        ("There are no cracks. However, a dent can be seen at the bottom.", True, "bottom", "dent"),
        ("There is a metal nut on a table.", None, None, None),
        ("", None, None, None),
    ],
)
def test_free_descriptions_are_read_sentence_by_sentence(
    text: str, present: bool | None, region: str | None, kind: str | None
) -> None:
    claim = read_claim(text)
    assert (claim.present, claim.region) == (present, region)
    assert (kind in claim.kinds) if kind else not claim.kinds
