import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from models.experts.clip.backbone import Clip, ClipConfig
from models.experts.clip.winclip import window_patches
from scripts.benchmarks.winclip import Turned, compare, import_anomalib
from tests.models.experts.clip.conftest import TINY, write_weights  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A small CLIP of the true classes with random weights."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-clip.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-clip.json")
    path = write_weights("tiny-clip", folder / "clip.safetensors")
    return Clip(ClipConfig(model="tiny-clip", checkpoint=str(path), device="cpu"))


def test_says_that_anomalib_is_absent_and_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "anomalib.py").write_text("raise ImportError('none here')")  # absent, whatever is installed
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "scripts.benchmarks.winclip"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "anomalib is not installed" in done.stderr and "scripts/requirements/anomalib.txt" in done.stderr
    assert (ROOT / "scripts/requirements/anomalib.txt").is_file()


@torch.inference_mode()
def test_windows_that_come_tokens_first_are_turned(clip: Clip) -> None:
    """As they come they attend to each other; turned, each is by itself, as in our own pass."""
    tokens = clip.tokens(clip.prepare([np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)]))
    places = window_patches(clip.grid, 2)
    windows = torch.cat([tokens[:, :1].expand(len(places), -1, -1), tokens[0, 1:][places]], 1)
    transformer = clip._model.visual.transformer
    turned = Turned(transformer, tokens.shape[1])
    expected = clip.run(windows)
    torch.testing.assert_close(turned(windows.transpose(0, 1)).transpose(0, 1), expected, atol=1e-5, rtol=1e-5)
    mixed = transformer(windows.transpose(0, 1)).transpose(0, 1)
    assert float((mixed - expected).abs().max()) > 1e-2
    torch.testing.assert_close(turned(tokens), clip.run(tokens))


@pytest.mark.slow
def test_maps_are_anomalibs_once_its_windows_are_turned(clip: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("anomalib", reason="anomalib is not installed; scripts/benchmarks/winclip.py says how")
    assert compare(import_anomalib(), clip.config.model, 3, 2) <= 1e-5
    assert "maps beside anomalib's turned windows" in capsys.readouterr().out
