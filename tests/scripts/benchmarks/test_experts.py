import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def test_says_that_anomalib_is_absent(tmp_path: Path) -> None:
    (tmp_path / "anomalib.py").write_text("raise ImportError('none here')")  # absent, whatever is installed
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks.experts", "mvtec_ad", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "anomalib is not installed" in done.stderr


@pytest.mark.slow
def test_same_picks_and_scores_as_anomalib(tmp_path: Path) -> None:
    pytest.importorskip("anomalib", reason="anomalib is not installed; scripts/benchmarks/experts.py says how")
    torch = pytest.importorskip("torch")
    from anomalib.models.components import KCenterGreedy

    from models.experts.coreset import select_coreset

    features = torch.randn(2000, 300, generator=torch.Generator().manual_seed(0))
    sampler = KCenterGreedy(embedding=features, sampling_ratio=0.05)
    theirs = sampler.select_coreset_idxs()
    assert select_coreset(sampler.features, len(theirs), start=theirs[0]).tolist() == theirs
