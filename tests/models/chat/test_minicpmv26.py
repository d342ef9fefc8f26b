"""Four faults of MiniCPM-V 2.6's own code under these libraries, on a tiny folder that has them, too."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from data.errors import UserError
from models.chat import minicpmv26
from models.chat.minicpmv26 import check_positions, mended
from tests.models.chat.minicpm_folder import CODE, POSITION, write_folder  # type: ignore[import-not-found]


def load(folder: Path) -> Any:
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    return AutoModelForCausalLM.from_pretrained(folder, config=config, trust_remote_code=True, dtype=torch.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / f"minicpm_{tmp_path.name}")


@pytest.fixture
def dirty_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `torch.empty_like` returns is what lay there before; here it always is no number."""
    empty: Callable[..., torch.Tensor] = torch.empty_like

    def empty_like(*args: Any, **kwargs: Any) -> torch.Tensor:
        made = empty(*args, **kwargs)
        return made.fill_(float("nan")) if made.is_floating_point() and not made.is_meta else made

    monkeypatch.setattr(torch, "empty_like", empty_like)


def test_without_the_first_cure_its_code_is_not_even_imported(folder: Path) -> None:
    with pytest.raises(NameError, match="'List' is not defined"):
        load(folder)


def test_without_the_second_cure_loading_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minicpmv26, "_calling_post_init", lambda kind, cures: nullcontext())
    with mended(folder, trusted=True), pytest.raises(AttributeError, match="all_tied_weights_keys"):
        load(folder)


@pytest.mark.usefixtures("dirty_memory")
def test_without_the_third_cure_the_positions_are_what_lay_in_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minicpmv26, "fill_positions", lambda model: [])
    with mended(folder, trusted=True):
        model = load(folder)
    assert bool(model.resampler.pos_embed.isnan().all())
    with pytest.raises(UserError, match=r"resampler\.pos_embed differs by inf from its definition"):
        check_positions(model)


def test_without_the_fourth_cure_the_second_load_lacks_a_method(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minicpmv26, "_prepare_inputs", property())  # as if it were not there
    with mended(folder, trusted=True):
        assert hasattr(load(folder), "prepare_inputs_for_generation")
        second = load(folder)
    with pytest.raises(AttributeError, match="prepare_inputs_for_generation"):
        _ = second.prepare_inputs_for_generation


@pytest.mark.usefixtures("dirty_memory")
def test_with_the_cures_it_loads_twice_with_its_own_positions(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = PreTrainedModel.from_pretrained.__func__
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            with mended(folder, trusted=True):
                model = load(folder)
            assert bool((model.resampler.pos_embed == POSITION).all())
            assert (
                model.prepare_inputs_for_generation(torch.tensor([[1, 2]]), use_cache=False)["input_ids"].numel() == 2
            )
    assert PreTrainedModel.from_pretrained.__func__ is before and not hasattr(functional, "List")
    first, second = (record.getMessage() for record in caplog.records if record.name == minicpmv26.__name__)
    assert "List lent to torch.nn.functional" in first and "post_init called" in first
    assert "resampler.pos_embed filled again" in first and "resampler.pos_embed filled again" in second
    assert "prepare_inputs_for_generation taken from its language model" in second


def test_code_and_libraries_without_the_faults_are_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functional, "List", list, raising=False)
    modeling = CODE["modeling_minicpmv.py"].replace("Qwen2PreTrainedModel)", "Qwen2PreTrainedModel, GenerationMixin)")
    modeling = modeling.replace("import Qwen2ForCausalLM", "import GenerationMixin, Qwen2ForCausalLM")
    modeling = modeling.replace("    def get_input_emb", "        self.post_init()\n\n    def get_input_emb")
    resampler = CODE["resampler.py"].replace('self.register_buffer("pos_embed", positions, persistent=False)', "pass")
    renewed = CODE | {"modeling_minicpmv.py": modeling, "resampler.py": resampler}
    folder = write_folder(tmp_path / f"renewed_{tmp_path.name}", code=renewed)
    with caplog.at_level(logging.INFO), mended(folder, trusted=True):
        model = load(folder)
    assert hasattr(model, "all_tied_weights_keys") and functional.List is list
    assert not [record for record in caplog.records if record.name == minicpmv26.__name__]


def test_nothing_is_touched_without_trust_or_for_another_model(folder: Path, tmp_path: Path) -> None:
    before = PreTrainedModel.from_pretrained.__func__
    (other := tmp_path / "other").mkdir()
    (other / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    for place, trusted in ((folder, False), (other, True), (tmp_path / "nowhere", True)):
        with mended(place, trusted=trusted):
            assert PreTrainedModel.from_pretrained.__func__ is before and not hasattr(functional, "List")


def test_altered_positions_are_refused_whatever_their_format(folder: Path) -> None:
    with mended(folder, trusted=True):
        model = load(folder)
    model.resampler.to(torch.bfloat16)
    check_positions(model)
    model.resampler.pos_embed[3, 4, 5] += 0.125
    with pytest.raises(UserError, match=r"resampler\.pos_embed differs by 0\.125 from its definition"):
        check_positions(model)
