import numpy as np

from data.ddqa.compose import FIXED_PROMPT
from data.ddqa.regions import REGIONS
from data.tiny.referring import KINDS, ReferringConfig, ReferringScenes, SceneMarks, region_name


def scenes(**changes: object) -> ReferringScenes:
    config = ReferringConfig(scenes=6, **changes)  # type: ignore[arg-type]
    return ReferringScenes(config, size=96, seed=0)


def test_a_sentence_means_the_mark_at_the_place_it_names() -> None:
    dataset = scenes(marks=[0, 0, 0, 1], misplaced_share=0, denied_share=0, fixed_share=0)
    named = 0
    for epoch in range(3):
        for index in range(6):
            item = dataset.get(epoch, index)
            for prompt, mask in zip(item.prompts, item.masks, strict=True):
                if prompt != FIXED_PROMPT:
                    assert prompt.endswith(f"at the {region_name(mask)}.")
                    assert any(f" {kind} " in prompt for kind in (*KINDS, "defect"))
                    named += 1
    assert named > 20


def test_the_general_request_means_every_mark_and_a_clean_scene_none() -> None:
    item = scenes(marks=[0, 0, 0, 1], fixed_share=1, misplaced_share=0, denied_share=0).get(0, 1)
    marks = SceneMarks(scenes(marks=[0, 0, 0, 1])).get(0, 1)
    assert item.prompts[-1] == FIXED_PROMPT
    np.testing.assert_array_equal(item.masks[-1], np.logical_or.reduce(marks.masks))
    clean = scenes(marks=[1], invented_share=0).get(0, 0)
    assert "no visible defect" in clean.prompts[0] and clean.prompts[1] == FIXED_PROMPT
    assert not any(mask.any() for mask in clean.masks)


def test_sentences_that_are_wrong_mean_what_the_image_shows() -> None:
    misplaced, denied = scenes(marks=[0, 0, 1], misplaced_share=1), scenes(marks=[0, 0, 1], denied_share=1)
    denied._config.misplaced_share = 0
    for index in range(6):
        marks = SceneMarks(misplaced).get(0, index)
        everything = np.logical_or.reduce(marks.masks)
        item = misplaced.get(0, index)
        assert not any(item.prompts[-1].endswith(f"at the {region_name(mask)}.") for mask in marks.masks)
        np.testing.assert_array_equal(item.masks[-1], everything)
        item = denied.get(0, index)
        assert "no visible defect" in item.prompts[-1]
        np.testing.assert_array_equal(item.masks[-1], everything)
    invented = scenes(marks=[1], invented_share=1).get(0, 0)
    assert " at the " in invented.prompts[0] and not invented.masks[0].any()


def test_items_are_a_function_of_seed_epoch_and_index() -> None:
    one, two = scenes(), scenes()
    two.get(5, 3)
    a, b = one.get(1, 3), two.get(1, 3)
    np.testing.assert_array_equal(a.image, b.image)
    assert a.prompts == b.prompts
    assert any(not np.array_equal(one.get(epoch, 3).image, a.image) for epoch in (2, 3))


def test_symmetries_turn_image_and_masks_together() -> None:
    dataset = scenes(marks=[0, 1])
    regions = {region_name(dataset.show(epoch, 2).marks[0][1]) for epoch in range(12)}
    assert len(regions) > 1 or regions == {"center"}
    assert regions <= set(REGIONS)


def test_scenes_drawn_larger_are_shown_at_the_models_size() -> None:
    large = scenes(marks=[0, 0, 1], draw_size=192, clutter=0.5, wild=0.5)
    for index in range(6):
        scenery = large.show(0, index)
        assert scenery.image.shape == (96, 96, 3)
        assert scenery.marks and all(mask.shape == (96, 96) and mask.any() for _, mask in scenery.marks)
