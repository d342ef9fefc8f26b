import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data.ddqa.regions import REGIONS
from data.ddqa.tasks import QUESTIONS, Task
from data.errors import UserError
from data.run import Run
from data.training.descriptions import DescribeMode, Manner, Naming
from models.chat.protocol import ChatRequest
from models.device import DeviceConfig, Placement, Precision
from models.eddm.eddm import EDDM, load_eddm
from models.weights.shards import name_weights
from models.weights.trust import hash_code
from tests.models.weights.marked import write_marked, write_snapshot

DEFECTS = ("bend", "crack", "dent", "foreign object", "hole", "missing part", "scratch", "stain")


class Oracle:
    """Knows the truth about every image and answers from the options that it is shown."""

    name = "oracle"

    def __init__(self, truth: dict[str, tuple[str, str] | None]) -> None:
        self.truth = truth
        self.asked: list[ChatRequest] = []

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        self.asked += requests
        return [self._reply(request) for request in requests]

    def _reply(self, request: ChatRequest) -> str:
        fact, lines = self.truth[request.image.name], request.prompt.split("\n")
        options = {line[3:]: line[0] for line in lines[1:-1]}
        if lines[0] == QUESTIONS[Task.AD]:
            return options["Yes."] if fact else options["No."]
        assert fact is not None
        if lines[0] == QUESTIONS[Task.DFM]:
            return "[0.1, 0.2, 0.3, 0.4]"
        if not options:
            return "Some text."
        return options.get(fact[0], options.get(fact[1], "B"))


@pytest.mark.parametrize("region", REGIONS)
def test_the_knock_out_finds_every_region(region: str) -> None:
    eddm = EDDM(Oracle({"x.png": (region, "hole")}), DEFECTS)
    assert eddm.choose([Path("x.png")], Task.RDL, REGIONS) == [region]


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_knock_out_finds_every_defect(defect: str) -> None:
    chat = Oracle({"x.png": ("top", defect)})
    assert EDDM(chat, DEFECTS).choose([Path("x.png")], Task.DC, DEFECTS) == [defect]
    assert all(request.prompt.count("\n") == 5 for request in chat.asked), "every question has four options"


def test_unreadable_replies_leave_no_winner() -> None:
    class Mumbler:
        name = "m"

        def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
            return ["hm"] * len(requests)

    eddm = EDDM(Mumbler(), DEFECTS)
    assert eddm.choose([Path("x.png")], Task.DC, DEFECTS) == [None]
    (described,) = eddm.describe_fully([Path("x.png")], Manner())
    assert described.answers == {"AD": None}
    assert "no visible defect" in described.text


class Likelihoods(Oracle):
    """An oracle that also says how likely each letter is."""

    def score(self, requests: Sequence[ChatRequest], counts: Sequence[int]) -> list[list[float]]:
        letters = self.chat(requests)
        return [
            [float(ord(letter) - ord("A") == index) for index in range(count)]
            for letter, count in zip(letters, counts, strict=True)
        ]


def test_names_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = Likelihoods({"a.png": ("bottom left", "crack"), "b.png": None, "c.png": ("top", "stain")})
    monkeypatch.setattr("models.chat.load.load_scorer", lambda model: model)
    manner = Manner(naming=Naming.at_once)
    texts = EDDM(chat, DEFECTS).describe([Path("a.png"), Path("b.png"), Path("c.png")], manner)
    assert "a crack at the bottom left" in texts[0]
    assert "no visible defect" in texts[1]
    assert "a stain at the top." in texts[2]


def test_a_model_without_logits_cannot_name_at_once() -> None:
    chat = Oracle({"a.png": ("top", "crack")})
    with pytest.raises(UserError, match=r"naming=at_once .* set naming=rounds"):
        EDDM(chat, DEFECTS).describe([Path("a.png")], Manner(naming=Naming.at_once))


def test_structured_descriptions_follow_the_answers() -> None:
    chat = Oracle({"a.png": None, "b.png": ("bottom left", "crack")})
    texts = EDDM(chat, DEFECTS).describe([Path("a.png"), Path("b.png")], Manner())
    assert "no visible defect" in texts[0]
    assert "a crack at the bottom left" in texts[1]
    assert {request.image.name for request in chat.asked[2:]} == {"b.png"}, "details are asked of defective images only"
    assert not [request for request in chat.asked if request.prompt.startswith(QUESTIONS[Task.DFM])], "no box is used"


def test_free_descriptions_are_the_models_own_words() -> None:
    chat = Oracle({"b.png": ("top", "crack")})
    assert EDDM(chat, DEFECTS).describe([Path("b.png")], Manner(DescribeMode.free, 99)) == ["Some text."]
    assert [request.max_tokens for request in chat.asked] == [99]


def test_a_run_without_eddm_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scripts\.train_eddm"):
        load_eddm(Run(tmp_path))


def test_missing_folders_are_user_errors(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.eddm.mkdir()
    (run.eddm / "config.json").write_text(json.dumps({"trained": {"base": "base", "local": True}}))
    with pytest.raises(UserError, match="No adapter"):
        load_eddm(run)
    (run.eddm / "adapter").mkdir()
    (run.eddm / "adapter" / "adapter_model.safetensors").touch()
    with pytest.raises(UserError, match="No base checkpoint"):
        load_eddm(run)


@pytest.mark.parametrize("backend", ["swift", "transformers"])
@pytest.mark.parametrize("local", [True, False])
def test_a_run_cannot_trust_code_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, local: bool
) -> None:
    run, commit, marker = Run(tmp_path / "run"), "f" * 40, tmp_path / "ran"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    base = write_marked(run.eddm / "base", marker) if local else write_snapshot(tmp_path / "hub", "a/b", commit, marker)
    trained = {"base": "base" if local else "a/b", "local": local, "revision": commit, "code": hash_code(base)}
    trained |= {"trust_remote_code": True, "backend": backend, "defects": []}
    run.eddm.mkdir(parents=True, exist_ok=True)
    (run.eddm / "config.json").write_text(json.dumps({"trained": trained}))
    with pytest.raises(UserError, match=r"names code of its own .*set trust_remote_code=true"):
        load_eddm(run, use_adapter=False)
    (base / "helper.py").write_text("name = 'changed'\n")
    with pytest.raises(UserError, match="is not the code that was trained with"):
        load_eddm(run, use_adapter=False, trust_remote_code=True)
    assert not marker.exists()


def test_a_base_in_several_shards_is_a_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "run")
    base = write_marked(run.eddm / "base", tmp_path / "ran", shards=3)
    (base / "config.json").write_text('{"model_type": "minicpmv"}')
    trained = {"base": "base", "local": True, "revision": None, "backend": "swift", "defects": []}
    trained["torch_dtype"] = "bfloat16"
    (run.eddm / "config.json").write_text(json.dumps({"trained": trained}))
    loaded: list[Any] = []
    places: list[Placement] = []

    def load(trained: Any, base: Any, adapter: Any, placement: Placement, **others: Any) -> Any:
        loaded.append(base)
        places.append(placement)

    monkeypatch.setattr("models.eddm.eddm.load_trained_chat", load)
    assert load_eddm(run, use_adapter=False).model == name_weights(base)
    assert loaded[0].place == base and not loaded[0].trust_remote_code
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    load_eddm(run, use_adapter=False)
    load_eddm(run, use_adapter=False, where=DeviceConfig(device="cuda:1", precision=Precision.fp16))
    load_eddm(run, use_adapter=False, where=DeviceConfig(device="cpu"))
    assert [(one.where, one.number) for one in places[1:]] == [
        ("cuda:0", "bfloat16"),
        ("cuda:1", "float16"),
        ("cpu", "bfloat16"),  # as it was trained
    ]
    (base / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model-9.safetensors"}}')
    with pytest.raises(UserError, match="1 of 1 shards are missing"):
        load_eddm(run, use_adapter=False)
