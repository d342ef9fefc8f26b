import pytest

from data.ddqa.compose import compose_description, oracle_description, read_presence
from data.source import Source, load_samples


def test_sentences() -> None:
    assert compose_description("hex_nut", "scratch", "top left") == (
        "The image shows a hex nut. There is a scratch at the top left."
    )
    assert compose_description(None, None, None) == "The image shows an industrial product. There is no visible defect."


@pytest.mark.parametrize("defect", [None, "crack", "oil stain"])
def test_a_description_says_whether_there_is_a_defect(defect: str | None) -> None:
    text = compose_description("hex_nut", defect, "left")
    assert read_presence(text) is read_presence(f"  {text.upper()}\n") is (defect is not None)


@pytest.mark.parametrize("text", ["", "The image shows a hex nut.", "There is a", "Therein is a crack"])
def test_a_text_that_says_neither_is_no_answer(text: str) -> None:
    assert read_presence(text) is None


def test_oracle_names_the_region_of_the_mask(write_mvtec) -> None:
    listed = load_samples([Source(reader="mvtec_ad", root=str(write_mvtec()))]).samples
    texts = {s.is_normal: oracle_description(s, (48, 64)) for s in listed}
    assert texts[True].endswith("There is no visible defect.")
    assert "There is a scratch at the " in texts[False]
    assert texts[False].startswith("The image shows an industrial product.")
