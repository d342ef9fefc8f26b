from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.masks import Box
from data.sample import Sample
from eval.report.cases import Case, GalleryConfig, choose_cases, draw_case, operating_point
from eval.segmentation.map_store import MapRow
from models.contour import RED, ContourConfig


def make_case(
    name: str, category: str, overlap: float | None, *, score: float = 0.5, flagged: float = 0.1, decoys: bool = False
) -> Case:
    defect = None if overlap is None else "hole"
    sample = Sample(id=name, dataset="x", category=category, split="test", image=Path(name), defect=defect)
    row = MapRow(
        id=name, key="", image=name, category=category, defect=defect, prompt="", score=score, map=f"{name}.npy"
    )
    return Case(sample, row, overlap, bool(overlap), flagged, [Box(0, 0, 2, 2)] if decoys else [])


def many_cases() -> list[Case]:
    random = np.random.default_rng(0)
    defective = [make_case(f"d{i}", "abc"[i % 3], float(random.random()), decoys=i % 4 == 0) for i in range(40)]
    return defective + [make_case(f"n{i}", "abc"[i % 3], None, score=i / 20, flagged=0.0) for i in range(20)]


def test_operating_point_by_hand() -> None:
    cases = [
        make_case("a", "x", 0.8),
        make_case("b", "x", 0.0, flagged=0.0),
        make_case("c", "x", 0.0),
        make_case("d", "x", 0.4),
        make_case("e", "x", None, flagged=0.0),
        make_case("f", "x", None),
    ]
    assert operating_point(cases) == {
        "defective_flagged": 75,
        "located": 50,
        "normal_flagged": 50,
        "overlap": pytest.approx(30),
        "defective": 4,
        "normal": 2,
    }
    assert operating_point(cases[:4])["normal_flagged"] is None


def test_no_image_is_shown_twice_and_counts_hold() -> None:
    config = GalleryConfig(best=3, worst=3, random=5, normal=4, decoys=2)
    chosen = choose_cases(many_cases(), config)
    assert {name: len(cases) for name, cases in chosen.items()} == {
        "best": 3,
        "worst": 3,
        "random": 5,
        "decoys": 2,
        "normal": 4,
    }
    shown = [case.sample.id for cases in chosen.values() for case in cases]
    assert len(shown) == len(set(shown))
    assert all(case.decoys for case in chosen["decoys"])
    assert all(case.sample.is_normal for case in chosen["normal"])


def test_best_and_worst_are_the_extremes() -> None:
    cases = many_cases()
    overlaps = sorted(case.overlap for case in cases if case.overlap is not None)
    chosen = choose_cases(cases, GalleryConfig(best=1, worst=1))
    assert chosen["best"][0].overlap == overlaps[-1]
    assert chosen["worst"][0].overlap == overlaps[0]


def test_one_category_does_not_fill_the_page() -> None:
    cases = [make_case(f"a{i}", "a", 0.9 + i / 1000) for i in range(9)] + [make_case("b", "b", 0.1)]
    best = choose_cases(cases, GalleryConfig(best=3, worst=0, random=0))["best"]
    assert [case.sample.category for case in best] == ["a", "a", "b"]


def test_a_single_category_may_fill_it() -> None:
    cases = [make_case(f"a{i}", "a", i / 10) for i in range(9)]
    chosen = choose_cases(cases, GalleryConfig(best=4, worst=4, random=0))
    assert [len(chosen["best"]), len(chosen["worst"])] == [4, 4]


def test_choice_depends_on_the_seed_alone() -> None:
    def ids(seed: int) -> list[str]:
        return [case.sample.id for case in choose_cases(many_cases(), GalleryConfig(seed=seed))["random"]]

    assert ids(1) == ids(1) != ids(2)


def test_normal_starts_with_the_highest_scores() -> None:
    assert choose_cases(many_cases(), GalleryConfig(normal=2))["normal"][0].sample.id == "n19"


def test_pictures_decode_at_the_asked_size() -> None:
    image = np.full((100, 200, 3), 120, np.uint8)
    truth = np.zeros((100, 200), bool)
    truth[40:60, 80:120] = True
    pictures = draw_case(image, truth, truth.astype(np.float32), [], ContourConfig(), GalleryConfig(side=100))
    decoded = {name: decode(uri) for name, uri in pictures.items()}
    assert {name: picture.shape for name, picture in decoded.items()} == dict.fromkeys(decoded, (50, 100, 3))
    assert decoded["map"][25, 50].sum() > decoded["map"][2, 2].sum() + 300
    line = decoded["contour"].astype(int) - np.array(RED)
    assert (np.abs(line).sum(2) < 150).any()
    assert decoded["truth"][2, 2].mean() > decoded["image"][2, 2].mean() + 30


def decode(uri: str) -> np.ndarray:
    kind, data = uri.split(",")
    assert kind == "data:image/jpeg;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
