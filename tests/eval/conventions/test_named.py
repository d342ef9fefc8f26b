from pathlib import Path

import pytest

from data.errors import UserError
from eval.conventions.named import FOLDER, AuproRule, Convention, ImageScore, MaskRule, _read, named_conventions


def test_each_file_is_a_convention_and_ours_is_the_default_of_every_value() -> None:
    found = named_conventions()
    assert set(found) == {path.stem for path in FOLDER.glob("*.yaml")}
    assert {"ours", "winclip", "april_gan", "saa", "ader", "dinomaly"} <= set(found) and next(iter(found)) == "ours"
    assert found["ours"] == Convention()


def test_conventions_are_what_published_figures_rest_on() -> None:
    found = named_conventions()
    sides = {name: one.resolution for name, one in found.items()}
    assert sides == {
        "ours": "native",
        "winclip": "240",
        "april_gan": "518",
        "saa": "400",
        "ader": "256",
        "dinomaly": "256",
    }
    assert (found["dinomaly"].input_size, found["dinomaly"].crop, found["dinomaly"].smoothing) == (448, 392, 4.0)
    assert {name for name, one in found.items() if one.mask_rule is MaskRule.bilinear} == {"winclip", "april_gan"}
    legacy = {name for name, one in found.items() if one.aupro_rule is AuproRule.legacy}
    assert legacy == {"winclip", "april_gan", "ader", "dinomaly"}
    assert found["april_gan"].image_score is ImageScore.half and found["dinomaly"].score_fraction == 0.01
    assert {name for name, one in found.items() if one.ader_figures} == {"ader"}


def test_a_convention_of_ones_own_is_one_more_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("# @package _global_\nconvention: mine\nresolution: '96'\nmask_rule: bilinear\n")
    assert _read(path) == Convention(resolution="96", mask_rule=MaskRule.bilinear)
    for wrong in ("mask_rule: cubic", "masks: bilinear"):
        path.write_text(f"convention: mine\n{wrong}\n")
        with pytest.raises(UserError, match=rf"mine\.yaml is no convention: .*{wrong.split()[0][:4]}|cubic"):
            _read(path)
