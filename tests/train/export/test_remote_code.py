"""Exports of an EDDM whose base brings code of its own: only where it is allowed, and only the code of the training."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model

from data.ddqa.compose import FREE_PROMPT
from data.errors import UserError
from data.files import read_json
from data.run import Run
from models.chat.protocol import ChatRequest
from models.chat.swift import SwiftChat, SwiftChatConfig
from models.eddm.eddm import load_eddm
from models.exported import load_exported_eddm
from models.weights.trust import admit, hash_code
from tests.models.chat.minicpm_folder import COMMIT, POSITION, write_folder  # type: ignore[import-not-found]
from tests.models.weights.marked import write_marked
from tests.train.export.conftest import move
from train.export.config import ExportConfig
from train.export.export import export_adapter
from train.export.probe import write_images

NAMES = {"model_type": "minicpmv2_6", "template": "minicpmv2_6", "torch_dtype": "float32", "attn_impl": "sdpa"}


def write_run(run: Run, base: Path, **trained: Any) -> None:
    values = {"base": str(base), "local": True, "defects": ["dent"], "use_cpu": True, "revision": COMMIT}
    values |= {"code": hash_code(base), "trust_remote_code": True, "backend": "swift", **NAMES, **trained}
    (run.eddm / "adapter").mkdir(parents=True, exist_ok=True)
    (run.eddm / "config.json").write_text(json.dumps({"fingerprint": "f", "trained": values, "config": {}}))


def test_an_export_runs_no_code_that_this_command_did_not_allow(tmp_path: Path) -> None:
    run, base = Run(tmp_path / "run"), write_marked(tmp_path / "base", tmp_path / "ran")
    write_run(run, base)
    (run.eddm / "adapter" / "adapter_model.safetensors").touch()
    for merge in (True, False):
        config = ExportConfig(run=str(run.path), out=str(tmp_path / "out"), merge=merge)
        with pytest.raises(UserError, match=r"names code of its own .*set trust_remote_code=true"):
            export_adapter(config)
    (base / "helper.py").write_text("name = 'changed'\n")
    config.trust_remote_code = True
    with pytest.raises(UserError, match="is not the code that was trained with"):
        export_adapter(config)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("time", ["first", "second"])  # in one process: its class changes with each load
def test_2_6_is_exported_with_its_code_and_its_pin(time: str, tmp_path: Path) -> None:
    run, base = Run(tmp_path / "run"), write_folder(tmp_path / "stub26")
    names = {"model_type": "minicpmv2_6", "template": "minicpmv2_6", "torch_dtype": "float32", "device_map": "cpu"}
    own: Any = SwiftChat(SwiftChatConfig(model=admit(base, revision=COMMIT, trusted=True), **names), None, name="own")
    lora = LoraConfig(r=4, lora_alpha=16, target_modules=r"^llm\..*\.(q_proj|v_proj)$")
    peft: Any = get_peft_model(own.model, lora)
    move(peft)
    write_run(run, base)
    peft.save_pretrained(str(run.eddm / "adapter"))
    requests = [ChatRequest(path, FREE_PROMPT, 8) for path in write_images(tmp_path)]
    expected = load_eddm(run, trust_remote_code=True).chat.chat(requests)
    for merge in (False, True):
        out = tmp_path / f"merged {merge}"
        export_adapter(ExportConfig(run=str(run.path), out=str(out), merge=merge, trust_remote_code=True))
        export, place = read_json(out / "eddm" / "manifest.json")["export"], None if merge else str(base)
        assert export["bases"]["base"]["revision"] == COMMIT and export["bases"]["base"]["code"] == hash_code(base)
        assert export["trained"]["code"] == hash_code(out / "eddm" / "model" if merge else base)
        if merge:
            generation = "generation_config.json"
            assert (out / "eddm" / "model" / generation).read_bytes() == (base / generation).read_bytes()
        card = (out / "README.md").read_text()
        assert "trust_remote_code=True" in card and "with mended(WHOLE, trusted=True)" in card
        with pytest.raises(UserError, match="set trust_remote_code=true"):
            load_exported_eddm(out / "eddm", base=place)
        chat: Any = load_exported_eddm(out / "eddm", base=place, trust_remote_code=True).chat
        assert bool((chat.model.resampler.pos_embed == POSITION).all())
        assert chat.chat(requests) == expected
        (code,) = [block for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "mended" in block]
        code = code.replace("/path/to/this/export", str(out)).replace("/path/to/stub26", str(base))
        loaded: dict[str, Any] = {}
        exec(compile(code, "card", "exec"), loaded)
        assert "/path/to" not in code
        assert any(bool((b == POSITION).all()) for n, b in loaded["model"].named_buffers() if n.endswith("pos_embed"))
