from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.readers.listing import list_images
from data.sample import load_image
from eval.judgements.judgement import Finding
from eval.judgements.log import JudgementLog
from eval.judgements.placing import place_photo, safe_name, stem_of
from eval.judgements.truth import read_truth
from tests.eval.judgements.judged import judged, photo


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("long scratch", "long_scratch"),
        ("../../etc/passwd", "etc_passwd"),
        ("..", "x"),
        ("", "x"),
        ("/", "x"),
        ("a\0b\n", "a_b"),
        (".hidden", "hidden"),
        ("Ölfleck", "Ölfleck"),
        ("C:\\dent", "C_dent"),
        ("n" * 200, "n" * 60),
    ],
)
def test_a_name_never_leaves_its_folder(name: str, safe: str) -> None:
    assert safe_name(name, "x") == safe
    assert len(Path(safe).parts) == 1


def test_photos_of_one_name_stay_apart_and_keep_their_bytes(log: JudgementLog, tmp_path: Path) -> None:
    for seed, name in enumerate(["../up/1.png", "C:\\pictures\\1.png"]):
        log.append(judged(photo(seed), Finding.fine, photo=name), photo(seed))
    paths = [place_photo(told, tmp_path / "out") for told in read_truth(log.folder).told]
    assert [path.read_bytes() for path in paths] == [photo(0), photo(1)]
    assert all(path.parent == tmp_path / "out" and path.name.startswith("1_") for path in paths)
    assert list_images(tmp_path / "out") == sorted(paths)


def test_a_format_that_no_reader_lists_becomes_a_png_of_the_same_pixels(log: JudgementLog, tmp_path: Path) -> None:
    image = cv2.imencode(".webp", np.full((20, 30, 3), (10, 80, 200), np.uint8))[1].tobytes()
    log.append(judged(image, Finding.fine, photo="a.webp"), image)
    (told,) = read_truth(log.folder).told
    path = place_photo(told, tmp_path / "out")
    assert path.name == f"{stem_of(told)}.png"
    assert np.array_equal(load_image(path), load_image(told.image))
