from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from data.ddqa.compose import FIXED_PROMPT, FREE_PROMPT
from data.errors import UserError
from data.run import Run
from data.sample import ImageArray, load_image
from data.training.descriptions import DescribeMode, Manner
from data.training.grounding import DescriptionMode
from models.contour import RED
from models.eiad import EIAD, InspectConfig, Overlay, inspect_image, load_eiad, save_inspection


class Talker:
    def describe(self, images: Sequence[Path], manner: Manner) -> list[str]:
        return [f"{path.stem}, {manner.mode.value}." for path in images]


class Brightness:
    """The anomaly map is the red channel; keeps the prompts it was given."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def predict(self, images: Sequence[ImageArray], texts: Sequence[str]) -> list[SimpleNamespace]:
        self.prompts += texts
        maps = [image[..., 0].astype(np.float32) / 255 for image in images]
        return [SimpleNamespace(anomaly_map=anomaly_map, score=anomaly_map.max()) for anomaly_map in maps]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.full((40, 60, 3), 30, np.uint8)
    pixels[10:20, 30:50] = 240
    path = tmp_path / "part.png"
    cv2.imwrite(str(path), pixels)
    return path


def make_config(run: Path, image: Path, out: Path, **changes: object) -> InspectConfig:
    return InspectConfig(run=str(run), image=str(image), out=str(out), **changes)  # type: ignore[arg-type]


def test_description_enters_the_prompt_of_the_mdlm(image: Path) -> None:
    mdlm = Brightness()
    inspection = EIAD(eddm=Talker(), mdlm=mdlm, manner=Manner(DescribeMode.free)).inspect(image)
    assert inspection.description == "part, free."
    assert mdlm.prompts == [f"{FREE_PROMPT} part, free."]


def test_without_eddm_the_prompt_is_fixed(image: Path) -> None:
    mdlm = Brightness()
    assert EIAD(eddm=None, mdlm=mdlm).inspect(image).description == ""
    assert mdlm.prompts == [FIXED_PROMPT]


def test_mask_score_and_outline(image: Path) -> None:
    inspection = EIAD(eddm=Talker(), mdlm=Brightness()).inspect(image)
    expected = np.zeros((40, 60), bool)
    expected[10:20, 30:50] = True
    assert np.array_equal(inspection.mask, expected)
    assert inspection.score == pytest.approx(240 / 255)
    assert tuple(inspection.overlay[9, 40]) == RED
    assert (inspection.overlay[15, 40] == 240).all()


@pytest.mark.parametrize("overlay", list(Overlay))
def test_overlays_differ(image: Path, overlay: Overlay) -> None:
    drawn = EIAD(eddm=None, mdlm=Brightness(), overlay=overlay).inspect(image).overlay
    has_outline = tuple(drawn[9, 40]) == RED
    has_heat = tuple(drawn[15, 40]) != (240, 240, 240)
    assert (has_outline, has_heat) == {
        Overlay.contour: (True, False),
        Overlay.heat: (False, True),
        Overlay.both: (True, True),
    }[overlay]


def test_files_and_json(image: Path, tmp_path: Path) -> None:
    inspection = EIAD(eddm=Talker(), mdlm=Brightness()).inspect(image)
    result = save_inspection(inspection, tmp_path)
    assert json.loads((tmp_path / "part.json").read_text()) == result
    assert {"description", "score", "mask", "overlay"} <= set(result)
    assert np.array_equal(load_image(Path(result["mask"]))[..., 0] > 0, inspection.mask)
    assert np.array_equal(load_image(Path(result["overlay"])), inspection.overlay)


def test_bad_input_is_named(image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="No run directory"):
        inspect_image(make_config(tmp_path / "none", image, out))
    run = Run(tmp_path / "run")
    run.path.mkdir()
    with pytest.raises(UserError, match="Missing image"):
        inspect_image(make_config(run.path, tmp_path / "none.png", out))
    corrupt = tmp_path / "corrupt.png"
    corrupt.write_bytes(b"\x89PNG nonsense")
    with pytest.raises(UserError, match="Corrupt image"):
        inspect_image(make_config(run.path, corrupt, out))
    with pytest.raises(UserError, match=r"scripts\.train_mdlm .*description=eddm"):
        inspect_image(make_config(run.path, image, out))
    (run.mdlm / "eddm").mkdir(parents=True)
    with pytest.raises(UserError, match=r"scripts\.train_eddm"):
        inspect_image(make_config(run.path, image, out))
    with pytest.raises(UserError, match="a file is in the way"):
        inspect_image(make_config(run.path, image, image / "below"))
    with pytest.raises(UserError, match="Choose eddm or fixed"):
        load_eiad(run, make_config(run.path, image, out, description=DescriptionMode.oracle))
