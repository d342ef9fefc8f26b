import json
from pathlib import Path

import pytest

from data.errors import UserError
from models.weights.shapes import architecture, build_chat_shape, build_llava_shape
from models.weights.table import checkpoints


def count(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["llava-v1.6-vicuna-7b", "llava-v1.6-mistral-7b", "minicpm-v-2.6", "minicpm-v-4.6"])
def test_shapes_are_built_offline_and_weigh_what_the_table_says(name: str) -> None:
    entry = checkpoints()[name]
    values = architecture(entry.hub or "")
    model = build_llava_shape(values) if entry.part == "mdlm" else build_chat_shape(values)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert count(model) * 2 / 1e9 == pytest.approx(entry.gigabytes, abs=0.06)


def test_a_folder_says_its_own_sizes(tmp_path: Path) -> None:
    folder = tmp_path / "llava"
    folder.mkdir()
    config = {"model_type": "llava_next", "text_config": {"model_type": "llama", "hidden_size": 64, "vocab_size": 99}}
    (folder / "config.json").write_text(json.dumps(config))
    assert architecture(str(folder))["text_config"]["hidden_size"] == 64
    assert architecture(str(folder))["text_config"]["num_hidden_layers"] == 32  # the class's default
    with pytest.raises(UserError, match="not known here"):
        architecture("someone/else")
    with pytest.raises(UserError, match="not LLaVA-NeXT"):
        build_llava_shape({"model_type": "bert"})
    with pytest.raises(UserError, match="cannot be planned"):
        build_chat_shape({"model_type": "bert"})


def test_no_kernel_of_the_hub_is_asked_for(tmp_path: Path) -> None:
    text = {"model_type": "llama", "hidden_size": 64, "_attn_implementation": "owner/kernel"}
    config = {"model_type": "llava_next", "auto_map": {}, "attn_implementation": "owner/kernel", "text_config": text}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert build_llava_shape(architecture(str(tmp_path))).config._attn_implementation == "sdpa"
