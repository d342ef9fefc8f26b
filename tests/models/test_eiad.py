from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data.ddqa.compose import FIXED_PROMPT, FREE_PROMPT
from data.errors import UserError
from data.run import Run
from data.sample import ImageArray
from data.training.descriptions import DescribeMode, Manner
from data.training.grounding import DescriptionMode
from models.eddm.eddm import Description
from models.eiad import EIAD, EIADConfig, find_mdlm_folder, load_eiad

IMAGE = np.full((4, 6, 3), 51, np.uint8)
PATH = Path("part.png")


class Talker:
    """Says the same about every image."""

    def __init__(self, text: str, answers: dict[str, Any] | None = None) -> None:
        self.description = Description(text, answers or {})

    def describe_fully(self, images: Sequence[Path], manner: Manner) -> list[Description]:
        return [self.description] * len(images)


class Brightness:
    """The anomaly map is the red channel; keeps the prompts it was given."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def predict(self, images: Sequence[ImageArray], texts: Sequence[str]) -> list[SimpleNamespace]:
        self.prompts += texts
        maps = [image[..., 0].astype(np.float32) / 255 for image in images]
        return [SimpleNamespace(anomaly_map=anomaly_map, score=anomaly_map.max()) for anomaly_map in maps]


def test_description_enters_the_prompt_of_the_mdlm() -> None:
    mdlm = Brightness()
    (look,) = EIAD(eddm=Talker("A gear."), mdlm=mdlm, manner=Manner(DescribeMode.free)).look([PATH], [IMAGE])
    assert look.words == "A gear." and look.score == pytest.approx(0.2) and look.anomaly_map.shape == (4, 6)
    assert mdlm.prompts == [f"{FREE_PROMPT} A gear."]


def test_without_eddm_the_prompt_is_fixed() -> None:
    mdlm = Brightness()
    (look,) = EIAD(eddm=None, mdlm=mdlm).look([PATH], [IMAGE])
    assert (look.words, look.present, look.defect) == ("", None, None)
    assert mdlm.prompts == [FIXED_PROMPT]


@pytest.mark.parametrize(
    ("text", "answers", "present", "defect"),
    [
        ("Anything.", {"AD": True, "RDL": "left", "DC": "crack"}, True, "crack"),
        ("Anything.", {"AD": False}, False, None),
        ("There is a crack.", {"AD": None}, None, None),  # its answer could not be read
        ("The image shows a gear. There is a crack at the left.", {}, True, None),
        ("The image shows a gear. There is no visible defect.", {}, False, None),
        ("A gear on a table.", {}, None, None),
    ],
)
def test_what_eddm_says_about_presence(
    text: str, answers: dict[str, Any], present: bool | None, defect: str | None
) -> None:
    (look,) = EIAD(eddm=Talker(text, answers), mdlm=Brightness()).look([PATH], [IMAGE])
    assert (look.present, look.defect) == (present, defect)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    def load(**values: Any) -> EIAD:
        return load_eiad(EIADConfig(**values))

    with pytest.raises(UserError, match="No run directory"):
        load(run=str(tmp_path / "none"))
    run = Run(tmp_path / "run")
    run.path.mkdir()
    with pytest.raises(UserError, match=r"scripts\.train_mdlm .*description=eddm"):
        load(run=str(run.path))
    (run.mdlm / "eddm").mkdir(parents=True)
    with pytest.raises(UserError, match=r"scripts\.train_eddm"):
        load(run=str(run.path))
    with pytest.raises(UserError, match="Choose eddm or fixed"):
        load(run=str(run.path), description=DescriptionMode.oracle)
    with pytest.raises(UserError, match="No exported MDLM"):
        load(export=str(tmp_path))


def test_a_run_without_eddm_is_told_the_fixed_prompt(tmp_path: Path) -> None:
    (tmp_path / "mdlm" / "fixed").mkdir(parents=True)
    assert find_mdlm_folder(EIADConfig(run=str(tmp_path)))[1] is DescriptionMode.fixed


def test_all_bases_that_an_export_lacks_are_named_at_once(tmp_path: Path) -> None:
    bases = {"mdlm": {"llava": {"hub": False, "name": "my-llava"}, "sam": {"hub": True, "name": "sam"}}}
    bases["eddm"] = {"base": {"hub": False, "name": "my-base"}}
    for part, named in bases.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "manifest.json").write_text(json.dumps({"export": {"description": "eddm", "bases": named}}))
    with pytest.raises(UserError, match=r"llava_base=PATH \(my-llava\), eddm_base=PATH \(my-base\)\."):
        load_eiad(EIADConfig(export=str(tmp_path)))


def test_an_export_is_told_what_its_mdlm_was_trained_with(tmp_path: Path) -> None:
    for part, told in (("mdlm", "fixed"), ("mdlm", "eddm"), ("eddm", "eddm")):
        (tmp_path / part).mkdir(exist_ok=True)
        (tmp_path / part / "manifest.json").write_text(json.dumps({"export": {"description": told}}))
        if part == "eddm" or told == "fixed":
            assert find_mdlm_folder(EIADConfig(export=str(tmp_path)))[1].value == told
        else:
            with pytest.raises(UserError, match="whose words this MDLM was trained with"):
                find_mdlm_folder(EIADConfig(export=str(tmp_path)))
