from dataclasses import replace

import pytest
import yaml

from data.errors import UserError
from models.experts.saa.properties import PROPERTIES, WORDS, ClassProperties, find_properties

OWN = ClassProperties(objects=2, boxes=3, area=0.5, phrases=["dark crack"])


def test_every_class_has_numbers_and_words() -> None:
    numbers, words = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (PROPERTIES, WORDS))
    assert list(numbers) == list(words) and len(numbers) == 15 + 12
    for category in numbers:
        told = find_properties(category, {}, None)
        assert told.name and 2 <= len(told.phrases) <= 7
        assert not any(told.name in phrase for phrase in told.phrases)  # it would find nothing


def test_numbers() -> None:
    capsules, screw = find_properties("capsules", {}, None), find_properties("screw", {}, None)
    assert (capsules.objects, capsules.boxes, capsules.area) == (20, 15, 1.0)
    assert (screw.objects, screw.boxes, screw.area) == (1, 5, 0.1)


def test_prompts() -> None:
    told = find_properties("metal_nut", {"metal_nut": OWN}, None)
    assert told.prompts() == ["defect on metal nut", "damage on metal nut", "flaw on metal nut", "dark crack"]
    assert find_properties("metal_nut", {"metal_nut": replace(OWN, name="ring")}, None).name == "ring"


def test_a_class_without_properties() -> None:
    with pytest.raises(UserError, match=r"'gear' in properties.yaml.*'\+saa.classes.gear=.*saa.default="):
        find_properties("gear", {}, None)
    default = ClassProperties(objects=1, boxes=5, area=0.9)
    assert find_properties("steel_gear", {"gear": OWN}, default).name == "steel gear"
    assert find_properties("gear", {"gear": OWN}, default).objects == 2
    assert find_properties("carpet", {}, default).phrases  # the shipped ones


@pytest.mark.parametrize("changes", [{"objects": 0}, {"boxes": 0}, {"area": 0.0}, {"area": 1.1}])
def test_bad_values(changes: dict) -> None:
    with pytest.raises(UserError, match="SAA\\+ needs"):
        replace(OWN, **changes)
