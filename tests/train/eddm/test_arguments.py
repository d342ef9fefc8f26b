from dataclasses import fields
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from data.errors import UserError
from scripts.command import CONFIGS, to_dataclass
from train.eddm.arguments import to_sft_arguments
from train.eddm.config import EDDMConfig


def compose_config(*overrides: str) -> EDDMConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        return to_dataclass(compose("train_eddm", ["run_dir=r", *overrides]), EDDMConfig)


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
    assert arguments["bf16"] and arguments["gradient_checkpointing"]
    assert re.fullmatch(arguments["target_regex"], "llm.model.layers.3.self_attn.q_proj")
    assert not re.fullmatch(arguments["target_regex"], "vpm.encoder.layers.3.self_attn.q_proj")


def test_ms_swift_is_told_where_to_go_on(tmp_path: Path) -> None:
    def resume(checkpoint: Path | None) -> object:
        arguments = to_sft_arguments(
            compose_config(), model="m", dataset=tmp_path / "d.jsonl", output=tmp_path, resume_from=checkpoint
        )
        return arguments.get("resume_from_checkpoint")

    assert resume(tmp_path / "checkpoint-9") == str(tmp_path / "checkpoint-9")
    assert resume(None) is None


def test_the_tiny_preset_takes_the_same_steps_on_any_number_of_ranks(tmp_path: Path) -> None:
    for ranks, rows in ((1, 32), (2, 16), (4, 8)):
        arguments = to_sft_arguments(
            compose_config(), model="m", dataset=tmp_path / "d.jsonl", output=tmp_path, ranks=ranks
        )
        assert (arguments["per_device_train_batch_size"], arguments["gradient_accumulation_steps"]) == (rows, 1)
        assert arguments["use_cpu"] and arguments.get("ddp_backend") == ("gloo" if ranks > 1 else None)
    with pytest.raises(UserError, match="3 ranks"):
        to_sft_arguments(compose_config(), model="m", dataset=tmp_path / "d.jsonl", output=tmp_path, ranks=3)


def test_deepspeed_on_a_cpu_is_not_hidden_behind_use_cpu(tmp_path: Path) -> None:
    config = compose_config("optim.deepspeed=zero2")
    arguments = to_sft_arguments(config, model="m", dataset=tmp_path / "d.jsonl", output=tmp_path, ranks=2)
    assert "use_cpu" not in arguments and arguments["ddp_backend"] == "gloo"
    assert arguments["accelerator_config"]["use_configured_state"]


def test_zero_3_composes_with_4_bits_for_gpus(tmp_path: Path) -> None:
    config = compose_config("preset=minicpm-v-4.6", "optim.deepspeed=zero3", "lora.quantize=nf4")
    arguments = to_sft_arguments(config, model="m", dataset=tmp_path / "d.jsonl", output=tmp_path, ranks=8)
    assert arguments["deepspeed"] == "zero3"
    assert (arguments["quant_method"], arguments["quant_bits"], arguments["bnb_4bit_quant_type"]) == ("bnb", 4, "nf4")
    assert arguments["bnb_4bit_compute_dtype"] == arguments["bnb_4bit_quant_storage"] == "bfloat16"
    assert (arguments["per_device_train_batch_size"], arguments["gradient_accumulation_steps"]) == (2, 1)


def test_ms_swift_neither_logs_nor_removes_checkpoints(tmp_path: Path) -> None:
    arguments = to_sft_arguments(compose_config(), model="m", dataset=tmp_path / "d.jsonl", output=tmp_path / "lora")
    assert arguments["report_to"] == ["none"] and "save_total_limit" not in arguments
