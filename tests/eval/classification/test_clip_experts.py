"""VELM's pipeline behind each expert on CLIP, with random weights: the expert alone decides what the MLLM is asked."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest

from data.errors import UserError
from data.sample import load_image
from data.source import Source, load_samples
from eval.classification import evaluate as classification
from eval.classification.config import ClassificationConfig
from eval.classification.evaluate import run_classification
from eval.classification.names import Names
from models.chat.protocol import ChatRequest
from models.experts.clip.backbone import ClipConfig
from models.experts.expert import Gate
from models.experts.load import load_expert
from models.velm.prompt import PromptConfig
from tests.models.experts.clip.conftest import TINY, write_weights
from train.experts.fit import fit_missing_expert

NAMES = ("winclip", "anoclip", "clip_surgery")


class Stand:
    """Names every defect a scratch, and counts what it is asked."""

    name = "stand-in"

    def __init__(self) -> None:
        self.asked = 0

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        raise AssertionError("a streaming model is streamed")

    def stream(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, str]]:
        for index, _ in enumerate(requests):
            self.asked += 1
            yield index, "scratch"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipConfig:
    """A small CLIP of the true classes with random weights."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-clip.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-clip.json")
    path = write_weights("tiny-clip", folder / "clip.safetensors")
    return ClipConfig(model="tiny-clip", checkpoint=str(path), device="cpu")


@pytest.fixture
def config(tmp_path: Path, write_mvtec: Callable[..., Path], clip: ClipConfig) -> ClassificationConfig:
    root = write_mvtec(categories=("nut",), normals=4, defects=3)
    classes = {"nut": {"normal": "Dark noise.", "classes": {"scratch": {"description": "A white square."}}}}
    (tmp_path / "classes.yaml").write_text(json.dumps(classes))
    return ClassificationConfig(
        dataset="mvtec_ad",
        data_root=str(root),
        classes=str(tmp_path / "classes.yaml"),
        out=str(tmp_path / "out"),
        names=Names.normalised,
        resamples=10,
        seed=0,
        severity_seeds=[0],
        clip=clip,
        mllm="stand-in",
        prompt=PromptConfig(image_size=56),
        device="cpu",
    )


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    found = Stand()
    monkeypatch.setattr(classification, "load_model", lambda config: found)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_expert_decides_what_is_asked(
    name: str, config: ClassificationConfig, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, expert=name)
    samples = load_samples([Source(reader="mvtec_ad", root=config.data_root, splits=config.splits)]).samples
    expert = load_expert(name, "", clip=config.clip)
    found = expert.detect(samples, [load_image(sample.image) for sample in samples])
    scores = sorted(one.score for one in found)
    assert len(set(scores)) == len(samples)  # each image has a score of its own
    middle = Gate(scores[len(scores) // 2], min(float(one.anomaly_map.min()) for one in found))
    monkeypatch.setattr(type(expert), "neutral", middle)  # random weights flag half of the images now
    fit_missing_expert(config)
    assert not (Path(config.out) / "expert").exists()  # zero-shot: nothing is fitted
    result = run_classification(config)
    flagged = [one.score >= middle.score for one in found]
    asked = sum(flagged)
    assert 0 < asked < len(samples)
    assert (result["gate"]["images"], result["gate"]["asked"], stand.asked) == (len(samples), asked, asked)
    right = [is_flagged != sample.is_normal for is_flagged, sample in zip(flagged, samples, strict=True)]
    assert result["mean"]["accuracy"] == pytest.approx(100 * sum(right) / len(right))
    assert result["pipeline"]["expert"] == name and not result["pipeline"]["sees_truth"]
    assert "tiny-clip at 80 pixels square" in result["pipeline"]["setting"]


@pytest.mark.parametrize("name", NAMES)
def test_missing_weights_are_named_before_the_mllm_is_asked(
    name: str, config: ClassificationConfig, stand: Stand
) -> None:
    for clip, message in (
        (ClipConfig(checkpoint="/nowhere.pt"), r"No file at /nowhere\.pt.*ViT-B-16-plus-240.*0\.8 GB: hf download"),
        (replace(config.clip, model="ViT-B-16"), "does not fit clip.model=ViT-B-16"),
    ):
        with pytest.raises(UserError, match=message):
            run_classification(replace(config, expert=name, clip=clip))
    assert stand.asked == 0
