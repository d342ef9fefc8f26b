from data.ddqa.compose import compose_description, oracle_description
from data.source import Source, load_samples


def test_sentences() -> None:
    assert compose_description("hex_nut", "scratch", "top left") == (
        "The image shows a hex nut. There is a scratch at the top left."
    )
    assert compose_description(None, None, None) == "The image shows an industrial product. There is no visible defect."


def test_oracle_names_the_region_of_the_mask(write_mvtec) -> None:
    listed = load_samples([Source(reader="mvtec_ad", root=str(write_mvtec()))]).samples
    texts = {s.is_normal: oracle_description(s, (48, 64)) for s in listed}
    assert texts[True].endswith("There is no visible defect.")
    assert "There is a scratch at the " in texts[False]
    assert texts[False].startswith("The image shows an industrial product.")
