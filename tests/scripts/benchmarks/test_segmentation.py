import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from data.errors import UserError
from data.files import write_json
from data.run import Run
from data.sample import ImageArray
from data.source import Source
from scripts.benchmarks.segmentation import Timed, measure_share
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
    timed = Timed(Slow())
    with pytest.raises(UserError, match="names no zero-shot data"):
        measure_share(run, timed, 1)
    path = run.mdlm / "fixed" / "config.json"
    facts = json.loads(path.read_text())
    facts["data"]["zero_shot"] = [asdict(Source(reader="mvtec_ad", root=str(run.data / "unseen")))]
    write_json(path, facts)
    share = measure_share(run, timed, 2)
    assert timed.seconds > 6 and 0 < share < 0.5
