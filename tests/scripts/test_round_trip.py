"""The whole circle: photos are inspected, a person corrects ten, and what was said makes both kinds of models better.

The photos show a product that the tiny EIAD has not been trained on, under a new lamp: its highlights are no defects,
but look like some.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.factory.synthetic import RootConfig, SyntheticConfig, make_factory
from data.files import read_jsonl
from data.masks import MaskFile, components, decode_mask
from data.run import Run, open_run
from data.sample import Sample, load_image, load_mask
from data.source import Source, load_samples
from eval.ddqa.exam import ask_all, grade
from eval.inspection.config import InspectConfig
from eval.inspection.inspector import load_inspector
from eval.inspection.rows import Row
from eval.inspection.run import run_inspection
from eval.judgements.export import ExportConfig, export_judgements
from eval.judgements.judgement import Finding, JudgedRegion, Judgement, now
from eval.judgements.log import JudgementLog, hash_photo
from models.eddm.eddm import load_eddm
from scripts.command import compose_config
from train.eddm.config import EDDMConfig
from train.eddm.train import train_eddm
from train.experts.fit import FitExpertConfig, fit_expert

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
PRODUCT = "hex_nut"
CORRECTED = 10


class Place:
    """A product of the factory, photos of it under a new lamp, and what is true of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.photos, self.log = folder, folder / "photos", JudgementLog(folder / "log")
        none = RootConfig(categories=["washer"], train_normals=0, test_normals=1, anomalous=0)
        some = RootConfig(categories=[PRODUCT], train_normals=12, test_normals=20, anomalous=20)
        make_factory(SyntheticConfig(run_dir=str(folder), seed=5, workers=1, seen=none, unseen=some))
        made = folder / "data" / "unseen"
        self.sound = folder / "before" / PRODUCT  # photos from before the new lamp
        shutil.copytree(made / PRODUCT / "train" / "good", self.sound / "good")
        samples = load_samples([Source(reader="mvtec_ad", root=str(made), splits=["test"])]).samples
        self.truth = {f"{number:02d}.png": sample for number, sample in enumerate(samples)}
        self.photos.mkdir()
        random = np.random.default_rng(0)
        for name, sample in self.truth.items():
            lit = add_highlights(load_image(sample.image), random)
            cv2.imwrite(str(self.photos / name), cv2.cvtColor(lit, cv2.COLOR_RGB2BGR))

    def inspect(self, out: str, **source: str) -> list[Row]:
        """The rows of all photos, by the tiny EIAD or by an expert; nothing is left of an earlier run."""
        config = InspectConfig(images=str(self.photos), out=str(self.folder / out), device="cpu", **source)
        return run_inspection(config).rows


def add_highlights(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Three soft spots where a lamp is reflected."""
    lit = image.astype(np.float32)
    for _ in range(3):
        spot = np.zeros(image.shape[:2], np.float32)
        centre = (int(random.integers(40, 216)), int(random.integers(40, 216)))
        axes = (int(random.integers(6, 14)), int(random.integers(6, 14)))
        cv2.ellipse(spot, centre, axes, 0, 0, 360, 1.0, -1)
        shine = 0.5 * cv2.GaussianBlur(spot, (0, 0), 2)[..., None]
        lit = lit * (1 - shine) + 255 * shine
    return lit.astype(np.uint8)


def is_wrong(row: Row, sample: Sample) -> bool:
    """Whether a verdict is not the truth about its photo."""
    return row.verdict != ("ok" if sample.is_normal else "defect")


def names_wrongly(row: Row, sample: Sample) -> bool:
    return not sample.is_normal and {region.name for region in row.regions} != {sample.defect}


def judge(row: Row, sample: Sample, model: str, out: Path) -> tuple[Judgement, np.ndarray | None]:
    """What a person who knows the truth says of a row."""
    content = Path(row.image).read_bytes()
    truth = load_mask(sample, row.size)
    mask: np.ndarray | None = truth
    if sample.is_normal:
        finding, mask = Finding.fine if is_wrong(row, sample) else Finding.accepted, None
    elif is_wrong(row, sample) or not (truth & (found := decode_mask(MaskFile(out / row.mask)))).any():
        finding = Finding.redrawn
    else:
        finding, mask = Finding.wrong_class if names_wrongly(row, sample) else Finding.accepted, found
    boxes = components(mask) if mask is not None else []
    judgement = Judgement(
        photo=row.name,
        image_hash=hash_photo(content),
        model=model,
        user="ann",
        time=now(),
        finding=finding,
        score=row.score or 0.0,
        verdict=row.verdict.value,
        regions=tuple(JudgedRegion(name=str(sample.defect), box=tuple(one.box), area=one.area) for one in boxes),
        category=PRODUCT,
    )
    return judgement, mask


def choose(rows: Sequence[Row], truth: dict[str, Sample]) -> list[Row]:
    """Ten photos to correct: five sound and five defective ones, first those that EIAD is most wrong about."""

    def badness(row: Row) -> tuple[bool, bool, float]:
        sample = truth[row.name]
        wrong = is_wrong(row, sample), row.present is sample.is_normal
        return wrong[0] and wrong[1], wrong[1] or names_wrongly(row, sample), row.score or 0.0

    chosen = []
    for sound in (True, False):
        side = [row for row in rows if truth[row.name].is_normal is sound]
        chosen += sorted(side, key=badness, reverse=True)[: CORRECTED // 2]
    return chosen


def examine(run: Run, questions: Sequence[dict[str, Any]], *, use_adapter: bool = True) -> dict[str, float]:
    """How EDDM answers the questions, in percent."""
    eddm = load_eddm(run, use_adapter=use_adapter)
    marks = grade(questions, ask_all(eddm.chat, questions, 32))
    return {name: marks[name] for name in ("AD_accuracy", "DC", "RDL")}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The photos, inspected by the tiny EIAD, and ten of its verdicts corrected."""
    place = Place(tmp_path_factory.mktemp("circle"))
    config = InspectConfig(
        images=str(place.photos), out=str(place.folder / "eiad"), run="tiny", device="cpu", familiar=False
    )
    inspector = load_inspector(config)
    rows = run_inspection(config, lambda _: inspector).rows
    for row in choose(rows, place.truth):
        judgement, mask = judge(row, place.truth[row.name], inspector.source.key, place.folder / "eiad")
        place.log.append(judgement, Path(row.image), mask)
    assert len(place.log) == CORRECTED
    return place


def test_eddm_learns_what_was_said_of_ten_photos(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    out, new = place.folder / "questions", Run(place.folder / "new")
    export_judgements(
        compose_config("export_judgements", ExportConfig, [f"log={place.log.folder}", "form=ddqa", f"out={out}"])
    )
    rows = read_jsonl(out / "ddqa" / "train.jsonl")
    assert sum(row["task"] == "AD" for row in rows) == CORRECTED
    before = examine(open_run("tiny"), rows)
    steps = ["optim.max_steps=60", "optim.total_batch=16", "optim.batch_size=16"]
    words = [f"run_dir={new.path}", f"questions={out / 'ddqa' / 'train.jsonl'}", *steps, "tracking=none"]
    train_eddm(compose_config("train_eddm", EDDMConfig, words))
    after, untrained = examine(new, rows), examine(new, rows, use_adapter=False)
    with capsys.disabled():
        print(f"\nEDDM before {before}, after {after}, without its training {untrained}")
    assert after["AD_accuracy"] >= before["AD_accuracy"] + 20 and after["DC"] >= before["DC"]
    assert after["AD_accuracy"] >= 90 and after["DC"] >= 90
    assert after["AD_accuracy"] > untrained["AD_accuracy"] and after["DC"] > untrained["DC"]


def test_an_expert_learns_what_was_said_of_ten_photos(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    judged = {judgement.photo for judgement in place.log}

    def errors(name: str, *words: str) -> list[str]:
        expert = place.folder / name
        line = [f"images={place.sound}", f"out={expert}", "patchcore.backbone.image_size=128", *words]
        fit_expert(compose_config("fit_expert", FitExpertConfig, line))
        rows = place.inspect(f"{name}_rows", expert="patchcore", expert_dir=str(expert))
        return [row.name for row in rows if row.name in judged and is_wrong(row, place.truth[row.name])]

    before = errors("plain")
    after = errors("taught", f"judgements={place.log.folder}")
    with capsys.disabled():
        print(f"\nthe expert is wrong about {len(before)} of the ten before, about {len(after)} after")
    assert len(after) < len(before)
    assert any(place.truth[name].is_normal for name in before)
    assert not any(place.truth[name].is_normal for name in after)  # what was called fine is not flagged again
