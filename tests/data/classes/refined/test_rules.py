import json
from collections import Counter
from pathlib import Path

import pytest

from data.classes.refined.rules import count_differences, mvtec_ac_class, release_counts, split_key, visa_ac_classes
from data.errors import UserError

# Anomalous test images of MVTec AD in the categories that the rules alone bring to the release's counts.
EXACT = {
    "cable": "bent_wire 13 cable_swap 12 combined 11 cut_inner_insulation 14 cut_outer_insulation 10 missing_cable 12 "
    "missing_wire 10 poke_insulation 10",
    "carpet": "color 19 cut 17 hole 17 metal_contamination 17 thread 19",
    "leather": "color 19 cut 19 fold 17 glue 19 poke 18",
    "tile": "crack 17 glue_strip 18 gray_stroke 16 oil 18 rough 15",
    "transistor": "bent_lead 10 cut_lead 10 damaged_case 10 misplaced 10",
    "wood": "color 8 combined 11 hole 10 liquid 10 scratch 21",
    "zipper": "broken_teeth 19 combined 16 fabric_border 17 fabric_interior 16 rough 17 split_teeth 18 "
    "squeezed_teeth 16",
}


@pytest.mark.parametrize("category", sorted(EXACT))
def test_the_rules_alone_reproduce_these_categories(category: str) -> None:
    words = EXACT[category].split()
    built: Counter[str] = Counter()
    for defect, count in zip(words[::2], words[1::2], strict=True):
        if name := mvtec_ac_class(category, defect):
            built[name] += int(count)
    release = release_counts("mvtec_ac")[category]
    assert built == {name: count for name, count in release.items() if name != "good"}


def test_what_the_rules_drop_and_merge() -> None:
    assert mvtec_ac_class("toothbrush", "good") is None
    assert mvtec_ac_class("pill", "combined") is None
    assert mvtec_ac_class("screw", "thread_top") == "scratch_thread"
    assert mvtec_ac_class("leather", "poke") == "poke"  # merged in capsule alone
    assert mvtec_ac_class("capsule", "good") == "good"


@pytest.mark.parametrize(("dataset", "anomalous", "normal"), [("mvtec_ac", 1142, 455), ("visa_ac", 929, 962)])
def test_totals_of_the_releases(dataset: str, anomalous: int, normal: int) -> None:
    counts = release_counts(dataset)
    assert sum(count for names in counts.values() for name, count in names.items() if name != "good") == anomalous
    assert sum(names["good"] for names in counts.values()) == normal


def test_no_image_of_visa_has_two_classes() -> None:
    stems = sum(count for names in release_counts("visa_ac").values() for count in names.values())
    assert len(visa_ac_classes()) == stems == 1891


def test_keys_are_split_at_the_known_category() -> None:
    assert split_key("pipe_fryum_stuck-together_001") == ("pipe_fryum", "stuck-together", "001")
    assert split_key("macaroni1_middle-breakage_small-scratches_040") == (
        "macaroni1",
        "middle-breakage_small-scratches",
        "040",
    )
    for key in ("bottle_good_001", "pcb1", "pcb1_good"):
        with pytest.raises(UserError, match=f"Not a key of VisA-AC: '{key}'"):
            split_key(key)


def test_the_class_map_is_that_of_the_published_predictions(real_data: Path) -> None:
    keys = json.loads((real_data / "velm/visa_ac_preds_gpt_4o.json").read_text())
    published = {}
    for category, name, stem in map(split_key, keys):
        published[category, name == "good", stem] = name
    assert len(published) == len(keys) == 1891
    assert visa_ac_classes() == published


def test_the_counts_are_those_of_the_published_predictions(real_data: Path) -> None:
    keys = json.loads((real_data / "velm/mvtec_ac_preds_gpt_4o.json").read_text())
    release = release_counts("mvtec_ac")
    published = Counter(key.rsplit("_", 1)[0] for key in keys)
    assert published == {f"{category}_{name}": n for category, names in release.items() for name, n in names.items()}


def test_differences_show_every_class_of_either_side() -> None:
    rows = count_differences(Counter({("a", "x"): 2, ("b", "y"): 1}), {"a": {"x": 3, "z": 1}})
    assert rows == [("a", "x", 2, 3), ("a", "z", 0, 1), ("b", "y", 1, 0)]
