import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_whoever_names_a_predictor_needs_no_torch() -> None:
    program = "import sys, models.predictor; from eval.segmentation import averaging; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=500).returncode == 0
