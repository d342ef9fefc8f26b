"""A run that holds both modules: tiny models of the real classes whose trained parts have moved."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

from data.files import write_json
from data.run import Run
from models.mdlm.dam import DamConfig
from models.mdlm.files import save_adapter
from models.mdlm.llava import LlavaConfig, add_seg_token
from models.mdlm.model import MDLMConfig, create_mdlm
from models.mdlm.sam import SamConfig, build_sam
from models.tiny.llava_sam import TinyLlavaConfig, build_tiny_llava, build_tiny_tokenizer
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model, build_processor, save_checkpoint
from train.export.config import ExportConfig
from train.tiny.eddm import tiny_tokenizer

MakeExport = Callable[..., ExportConfig]
DATA = "/secret/place/datasets/mvtec"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("exported") / "run")
    write_eddm_part(run)
    write_mdlm_part(run, "fixed")
    run.ddqa.mkdir()
    (run.ddqa / "train.jsonl").write_text("{}\n")
    results = {
        "eddm": {"AD": 71.25},
        "segmentation": {"with_eddm": {"mean": {"pixel_auroc": 93.5, "image_auroc": None}}},
    }
    run.results.write_text(json.dumps(results))
    save_file({"vectors": torch.eye(3)}, run.path / "familiar.safetensors", {"key": "k", "limit": "0.5"})
    return run


@pytest.fixture
def make_export(run: Run, tmp_path: Path) -> MakeExport:
    def make(**values: Any) -> ExportConfig:
        return ExportConfig(**{"run": str(run.path), "out": str(tmp_path / "out"), **values})

    return make


def write_eddm_part(run: Run) -> None:
    torch.manual_seed(0)
    tiny, tokenizer = TinyMiniCPMVConfig(text_layers=2, vision_layers=2), tiny_tokenizer(1536)
    model = build_model(tiny, tokenizer)
    with torch.no_grad():  # a random model repeats the line break that its prompt ends with: let it prefer visible text
        silent = [k for k in range(len(tokenizer)) if not tokenizer.decode([k], skip_special_tokens=True).strip()]
        model.get_input_embeddings().weight[silent] *= 0.01
    save_checkpoint(run.eddm / "base", model, build_processor(tiny, tokenizer))
    lora = LoraConfig(r=4, lora_alpha=16, target_modules=r".*language_model.*\.(q_proj|v_proj|down_proj)")
    peft: Any = get_peft_model(model, lora)  # type: ignore[arg-type]
    move(peft)
    peft.save_pretrained(str(run.eddm / "adapter"))
    details = json.loads((run.eddm / "adapter" / "adapter_config.json").read_text())
    (run.eddm / "adapter" / "adapter_config.json").write_text(
        json.dumps(details | {"base_model_name_or_path": "../base"})
    )
    trained = {
        **{"base": "base", "local": True, "defects": ["dent", "scratch"], "use_cpu": True, "revision": None},
        **{"model_type": "minicpmv4_6", "template": "minicpmv4_6", "trust_remote_code": False},
        **{"torch_dtype": "float32", "attn_impl": "eager", "backend": "transformers"},
    }
    config = {"preset": "test", "run_dir": str(run.path), "questions": "", "optim": {"lr": 0.002}}
    (run.eddm / "config.json").write_text(json.dumps({"fingerprint": "f" * 64, "trained": trained, "config": config}))


def write_mdlm_part(run: Run, mode: str) -> None:
    base = run.mdlm / "base"
    sam_config = SamConfig(
        **{"image_size": 64, "patch_size": 8, "width": 32, "depth": 1, "heads": 2, "global_layers": [0], "window": 0},
        **{"relative_positions": False, "stem": [8, 16, 32], "channels": 32, "decoder_heads": 2, "decoder_mlp": 32},
    )
    torch.manual_seed(1)
    tokenizer = build_tiny_tokenizer(["There is a scratch at the top left.", "There is no visible defect."] * 20, 320)
    tiny = TinyLlavaConfig(width=32, layers=2, heads=2, mlp=48, tile_size=32, vision_width=16)
    llava = build_tiny_llava(tiny, tokenizer, seed=0)
    add_seg_token(llava, tokenizer)
    llava.save_pretrained(base / "llava")
    tokenizer.save_pretrained(base / "llava")
    save_file(build_sam(sam_config).state_dict(), base / "sam.safetensors")
    sam_config.checkpoint = str(base / "sam.safetensors")
    config = MDLMConfig(llava=LlavaConfig(path=str(base / "llava")), sam=sam_config, dam=DamConfig(heads=4))
    model = create_mdlm(config)
    move(model)
    assert model.processor is not None
    save_adapter(model, model.processor.tokenizer, config, run.mdlm / mode)
    settings = {
        "preset": "test",
        "run_dir": str(run.path),
        "mdlm": asdict(config),
        "data": {"train": [{"reader": "mvtec_ad", "root": DATA}]},
    }
    write_json(run.mdlm / mode / "config.json", {**settings, "fingerprint": "e" * 64})


def move(model: torch.nn.Module) -> None:
    """As after training: every trainable parameter has moved."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
