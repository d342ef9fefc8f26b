import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.files import write_json, write_jsonl
from data.mmad import MMADConfig, read_mmad
from data.run import Run
from data.sample import ImageArray
from data.source import Source
from scripts.benchmarks.segmentation import Meter, Timed, measure_share, write_mmad
from tests.eval.conftest import run  # type: ignore[import-not-found]  # noqa: F401


class Slow:
    """Takes its time with each image, so that little of it is spent elsewhere."""

    def ready(self, image: ImageArray) -> ImageArray:
        return image

    def predict(self, images: Sequence[ImageArray], texts: Sequence[str]) -> list[SimpleNamespace]:
        time.sleep(0.5 * len(images))
        rng = np.random.default_rng(len(images))
        return [SimpleNamespace(anomaly_map=rng.random(i.shape[:2], np.float32), score=0.5) for i in images]


def test_the_share_is_what_the_model_does_not_take(run: Run) -> None:  # noqa: F811
    meter = Meter()
    timed = Timed(Slow(), meter)
    with pytest.raises(UserError, match="names no zero-shot data"):
        measure_share(run, timed, meter, 1)
    path = run.mdlm / "fixed" / "config.json"
    facts = json.loads(path.read_text())
    facts["data"]["zero_shot"] = [asdict(Source(reader="mvtec_ad", root=str(run.data / "unseen")))]
    write_json(path, facts)
    started = time.perf_counter()
    share, _ = measure_share(run, timed, meter, 2)
    assert meter.spent[0] > 6
    assert share == pytest.approx(1 - meter.spent[0] / (time.perf_counter() - started), abs=0.1)


def test_a_function_within_another_counts_once() -> None:
    meter = Meter()
    inner = meter(lambda: time.sleep(0.2))
    outer = meter(lambda: (inner(), time.sleep(0.1)))
    share, _ = meter.share_beside(lambda: (outer(), inner(), time.sleep(0.5)))
    assert 0.5 <= meter.spent[0] < 0.7
    assert 0.4 < share < 0.6


def test_a_runs_exam_is_asked_as_mmad_asks(tmp_path: Path) -> None:
    made, rows = Run(tmp_path / "run"), []
    for name, answer in (("a", "B"), ("b", "A")):
        image = made.path / "data" / "unseen" / f"nut_{name}" / "test" / "good" / f"{name}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), np.zeros((8, 8, 3), np.uint8))
        turn = {"role": "user", "content": "<image>Is it sound?\nA. No.\nB. Yes.\nAnswer with the letter."}
        facts = {"id": name, "dataset": "d", "category": "nut", "defect": None, "task": "AD"}
        rows.append(facts | {"messages": [turn], "images": [str(image)], "options": ["No.", "Yes."], "answer": answer})
    write_jsonl(made.ddqa / "zero_shot.jsonl", rows)
    (tmp_path / "mmad").mkdir()
    write_mmad(made, tmp_path / "mmad")
    mmad = read_mmad(MMADConfig(data_root=str(tmp_path / "mmad")), check_images=True)
    assert not mmad.skipped
    assert [(q.text, q.options, q.answer) for image in mmad.images for q in image.questions] == [
        ("Is it sound?", ("No.", "Yes."), "B"),
        ("Is it sound?", ("No.", "Yes."), "A"),
    ]
