from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from data.ddqa.compose import FIXED_PROMPT, FREE_PROMPT
from data.errors import UserError
from data.sample import ImageArray, Sample
from data.training.descriptions import Manner
from data.training.grounding import DescriptionMode
from models.experts import mdlm as module
from models.experts.expert import Gate
from models.experts.load import load_expert
from models.experts.mdlm import MDLMExpert, MDLMExpertConfig

IMAGE = np.full((20, 30, 3), 128, np.uint8)
SAMPLE = Sample(id="d/a.png", dataset="d", category="nut", split="test", image=Path("a.png"))


class Brightness:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def predict(self, images: Sequence[ImageArray], texts: Sequence[str]) -> list[SimpleNamespace]:
        self.texts += texts
        maps = [image[..., 0].astype(np.float32) / 255 for image in images]
        return [SimpleNamespace(anomaly_map=one, score=float(one.max())) for one in maps]


class Talker:
    def describe(self, images: Sequence[Path], manner: Manner) -> list[str]:
        return [f"I see {path.stem}." for path in images]


@pytest.fixture
def mdlm(monkeypatch: pytest.MonkeyPatch) -> Brightness:
    found = Brightness()
    monkeypatch.setattr(module, "load_mdlm", lambda run, name, placement: found)
    monkeypatch.setattr(module, "load_eddm", lambda run, **how: Talker())
    return found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("fixed", "eddm"):
        folder = tmp_path / "run" / "mdlm" / name
        folder.mkdir(parents=True)
        save_file({"weight": np.zeros(2, np.float32)}, folder / "adapter.safetensors")
    return tmp_path / "run"


def test_gate_and_maps(mdlm: Brightness, run: Path, tmp_path: Path) -> None:
    expert = MDLMExpert(MDLMExpertConfig(run=str(run)), {"nut": Gate(0.6, 0.4)})
    (found,) = expert.detect([SAMPLE], [IMAGE])
    assert found.anomaly_map.shape == (20, 30) and found.is_normal
    assert mdlm.texts == [FIXED_PROMPT]
    expert.save(tmp_path / "expert", {"nut": ["d/b.png"]})
    again = load_expert("mdlm", str(tmp_path / "expert"))
    assert again.detect([SAMPLE], [IMAGE])[0].gate == Gate(0.6, 0.4)
    with pytest.raises(UserError, match="no gate for ring"):
        again.check(["nut", "ring"])
    save_file({"weight": np.ones(2, np.float32)}, run / "mdlm" / "fixed" / "adapter.safetensors")
    with pytest.raises(UserError, match="fitted with another MDLM"):
        load_expert("mdlm", str(tmp_path / "expert"))


def test_what_eddm_says_enters_the_prompt(mdlm: Brightness, run: Path) -> None:
    expert = MDLMExpert(MDLMExpertConfig(run=str(run), description=DescriptionMode.eddm), {"nut": Gate(0.1, 0.4)})
    expert.detect([SAMPLE], [IMAGE])
    assert mdlm.texts == [f"{FREE_PROMPT} I see a."]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": ""}, "mdlm.run=RUN"),
        ({"run": "/none"}, "No run directory"),
        ({"description": DescriptionMode.oracle}, "tell the expert the truth"),
    ],
)
def test_bad_config(mdlm: Brightness, run: Path, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        MDLMExpert(MDLMExpertConfig(**({"run": str(run)} | changes)), {})


def test_a_run_without_mdlm(mdlm: Brightness, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Train it"):
        MDLMExpert(MDLMExpertConfig(run=str(tmp_path)), {})
