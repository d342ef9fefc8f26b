import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.errors import UserError
from scripts.command import CONFIGS, to_dataclass
from train.ddqa_rows import check_ddqa
from train.eddm_arguments import to_sft_arguments
from train.eddm_config import EDDMConfig, check_model


def compose_config(*overrides: str) -> EDDMConfig:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        return to_dataclass(compose("train_eddm", ["run_dir=r", *overrides]), EDDMConfig)


def make_row(image: Path, **changes: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "<image>Is it?"}, {"role": "assistant", "content": "A"}]
    return {"messages": messages, "images": [str(image)], **changes}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    return path


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_good_rows_pass(tmp_path: Path, image: Path) -> None:
    assert len(check_ddqa(write(tmp_path / "d.jsonl", make_row(image), make_row(image)))) == 2


def test_bad_rows_are_named(tmp_path: Path, image: Path) -> None:
    path = tmp_path / "d.jsonl"
    no_tag = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "A"}]
    no_answer = [{"role": "user", "content": "<image>Is it?"}, {"role": "assistant", "content": " "}]
    cases = [
        (make_row(tmp_path / "missing.png"), "Missing image"),
        (make_row(image, messages=no_tag), "0 <image> tags but 1"),
        (make_row(image, images=[str(image)] * 2), "1 <image> tags but 2"),
        (make_row(image, images=[]), "No image"),
        (make_row(image, messages=no_answer), "Empty message"),
        (make_row(image, messages=no_tag[:1]), "Not a question with its answer"),
    ]
    for row, message in cases:
        with pytest.raises(UserError, match=message) as error:
            check_ddqa(write(path, make_row(image), row))
        assert f"{path}, line 2" in str(error.value)


def test_an_empty_or_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scripts\.build_ddqa"):
        check_ddqa(write(tmp_path / "d.jsonl"))
    with pytest.raises(UserError, match="Missing file"):
        check_ddqa(tmp_path / "none.jsonl")


def test_remote_code_needs_a_pinned_revision() -> None:
    with pytest.raises(UserError, match="revision"):
        check_model(compose_config("preset=paper", "model.trust_remote_code=true"))
    check_model(compose_config("preset=paper", "model.trust_remote_code=true", "model.revision=abc"))


def test_a_wrong_checkpoint_folder_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        check_model(compose_config("preset=minicpm-v-4.6", f"model.id={tmp_path}"))


@pytest.mark.parametrize("preset", ["tiny", "paper", "minicpm-v-4.6"])
def test_the_mapping_knows_ms_swifts_arguments(preset: str, tmp_path: Path) -> None:
    from swift import SftArguments

    config = compose_config(f"preset={preset}", "optim.deepspeed=zero2")
    arguments = to_sft_arguments(config, model="m", dataset=tmp_path / "d.jsonl", output=tmp_path)
    assert set(arguments) <= {field.name for field in fields(SftArguments)}
    assert (arguments["lora_rank"], arguments["lora_alpha"], arguments["deepspeed"]) == (8, 32, "zero2")
    assert arguments["strict"] is True


def test_the_paper_preset_adapts_the_language_model_of_minicpm_v_2_6(tmp_path: Path) -> None:
    import re

    config = compose_config("preset=paper")
    arguments = to_sft_arguments(config, model="m", dataset=tmp_path / "d.jsonl", output=tmp_path)
    assert (config.model.id, arguments["model_type"], arguments["template"]) == (
        "openbmb/MiniCPM-V-2_6",
        "minicpmv2_6",
        "minicpmv2_6",
    )
    assert arguments["bf16"] and arguments["gradient_checkpointing"] and config.base is None
    assert re.fullmatch(arguments["target_regex"], "llm.model.layers.3.self_attn.q_proj")
    assert not re.fullmatch(arguments["target_regex"], "vpm.encoder.layers.3.self_attn.q_proj")


def test_an_interrupted_run_goes_on_from_its_last_complete_checkpoint(tmp_path: Path) -> None:
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-9" / "trainer_state.json").touch()
    arguments = to_sft_arguments(compose_config(), model="m", dataset=tmp_path / "d.jsonl", output=tmp_path)
    assert arguments["resume_from_checkpoint"].endswith("checkpoint-9")
