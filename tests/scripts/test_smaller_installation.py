"""The commands for photos of one's own run without what only trainings and chat models need."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {
    "deepspeed",
    "ms-swift",
    "bitsandbytes",
    "wandb",
    "accelerate",
    "diffusers",
    "open-clip-torch",
    "openai",
    "scikit-image",
    "tensorboard",
}
BLOCKED = ("skimage", "deepspeed", "swift", "bitsandbytes", "wandb", "diffusers", "open_clip", "openai", "tensorboard")


def names(path: Path) -> set[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {re.split(r"[<>=\s]", line)[0] for line in lines if line and not line.startswith("#")}


def test_the_smaller_set_is_the_full_one_without_the_rest() -> None:
    full, small = names(ROOT / "requirements.txt"), names(ROOT / "scripts/requirements/inspect.txt")
    assert small == full - LEFT_OUT
    versions = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for line in (ROOT / "scripts/requirements/inspect.txt").read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or line in versions  # the same bounds


def test_the_commands_import_none_of_the_rest() -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({BLOCKED!r}))
import scripts.doctor, scripts.fit_expert, scripts.calibrate, scripts.inspect, scripts.eval_expert
from models.experts.load import load_expert
from train.experts.fitting import FitExpertConfig, prepare_fitting
from pathlib import Path
from eval.inspection.sources import open_source, SourceConfig
prepare_fitting(FitExpertConfig(expert="patchcore", out="unused"), Path("unused"))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
