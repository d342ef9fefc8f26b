from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from data.sample import Sample
from eval.calibration.file import read_calibration
from eval.judgements.judgement import Finding
from eval.judgements.log import JudgementLog
from models.experts.patchcore import PatchCoreConfig
from models.experts.store import read_fitted
from tests.eval.judgements.judged import judged, photo, square  # type: ignore[import-not-found]
from train.experts.fit import FitExpertConfig, fit_expert
from train.experts.judged import join_judged

SIZE = (64, 64)


@pytest.fixture
def log(tmp_path: Path) -> JudgementLog:
    return JudgementLog(tmp_path / "log")


def add(log: JudgementLog, seeds: range, finding: Finding, category: str = "") -> None:
    for seed in seeds:
        image = photo(seed, size=SIZE)
        mask = square(size=SIZE) if finding is Finding.redrawn else None
        log.append(judged(image, finding, category=category, photo=f"{seed}.png"), image, mask)


def folder(root: Path, name: str, seeds: range, kind: str = "good") -> Path:
    for seed in seeds:
        path = root / name / kind / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(seed, size=SIZE))
    return root / name


def test_an_expert_is_fitted_on_photos_and_on_what_was_said(
    log: JudgementLog, patchcore: PatchCoreConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = folder(tmp_path, "nut", range(8))
    add(log, range(20, 24), Finding.fine)
    add(log, range(7, 8), Finding.redrawn, "nut")  # it lies among the sound ones
    add(log, range(30, 31), Finding.fine, "ring")
    out = tmp_path / "expert"
    config = FitExpertConfig(
        expert="patchcore", images=str(images), judgements=str(log.folder), out=str(out), patchcore=patchcore
    )
    fit_expert(config)
    said = capsys.readouterr().out
    assert "4 sound and 1 defective photos that were judged" in said and "1 (of ring, which is not fitted)" in said
    assert "1 photos of" in said and "nut: 11 sound photos, 1 defective ones (1 defect)" in said
    made = read_calibration(out)
    assert made is not None and (made.category, made.normals, made.defects) == ("nut", 11, 1)
    hashes = {judgement.image_hash for judgement in log if judgement.finding is Finding.fine}
    assert len(hashes & read_fitted(out)) == 4


def test_what_was_said_alone_is_enough(log: JudgementLog, patchcore: PatchCoreConfig, tmp_path: Path) -> None:
    add(log, range(6), Finding.fine)
    out = tmp_path / "expert"
    fit_expert(FitExpertConfig(expert="patchcore", judgements=str(log.folder), out=str(out), patchcore=patchcore))
    made = read_calibration(out)
    assert made is not None and (made.category, made.normals) == ("product", 6)


def test_photos_without_a_product_are_of_the_only_one(log: JudgementLog) -> None:
    add(log, range(2), Finding.fine)
    add(log, range(2, 4), Finding.redrawn, "nut")

    def join(**values: object) -> list[tuple[str, str, bool, bool]]:
        samples = join_judged([], FitExpertConfig(expert="patchcore", judgements=str(log.folder), out="o", **values))  # type: ignore[arg-type]
        return [(s.category, s.split, s.is_normal, s.mask is not None) for s in samples]

    assert join() == [("nut", "test", True, False)] * 2 + [("nut", "test", False, True)] * 2
    add(log, range(4, 5), Finding.fine, "ring")
    with pytest.raises(UserError, match=r"judged without a product, and there are several: nut, ring"):
        join()
    assert {category for category, *_ in join(categories=["ring"])} == {"ring"}
    add(log, range(2), Finding.fine, "ring")  # judged again, with a product
    with pytest.raises(UserError, match=r"No photo in .* is of washer"):
        join(categories=["washer"])


def test_judged_photos_stand_where_the_sound_ones_of_the_folder_stand(log: JudgementLog, tmp_path: Path) -> None:
    add(log, range(2), Finding.fine, "nut")
    path = folder(tmp_path, "nut", range(9, 10)) / "good" / "9.png"
    train = Sample(id="d/9", dataset="d", category="nut", split="train", image=path)
    joined = join_judged([train], FitExpertConfig(expert="patchcore", judgements=str(log.folder), out="o"))
    assert [sample.split for sample in joined] == ["train"] * 3
    assert np.unique([sample.id for sample in joined]).size == 3
