"""The words of the zero-shot methods: as many as their definitions count."""

from models.experts.clip.words import anoclip_texts, clip_surgery_texts, winclip_texts


def test_winclip_has_154_and_88_texts_all_different() -> None:
    texts = winclip_texts("metal_nut")
    assert (len(set(texts.normal)), len(set(texts.abnormal))) == (154, 88)
    assert "a photo of a damaged metal nut." in texts.abnormal
    assert "a close-up photo of the metal nut without flaw." in texts.normal


def test_anoclip_has_924_texts_and_other_domains_for_textures() -> None:
    for category, domain, other in (
        ("cable", "industrial image", "surface photo"),
        ("tile", "surface photo", "ing image"),
    ):
        texts = anoclip_texts(category)
        assert len(set(texts.normal)) == len(set(texts.abnormal)) == 462
        assert any(domain in text for text in texts.normal)
        assert not any(other in text for text in texts.normal)
    assert any("surface photo" in text for text in anoclip_texts("magnetic_tile").normal)
    assert "an industrial photo of the normal cable" in anoclip_texts("cable").normal
    assert "a dark industrial photo of a cable with flaw" in anoclip_texts("cable").abnormal
    assert "a manufacturing image of a damaged cable" in anoclip_texts("cable").abnormal


def test_clip_surgery_has_85_templates_a_state() -> None:
    texts = clip_surgery_texts("screw")
    assert (len(texts.normal), len(texts.abnormal)) == (7 * 85, 4 * 85)
    assert "there is a damaged screw in the scene." in texts.abnormal
