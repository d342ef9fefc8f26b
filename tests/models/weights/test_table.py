import re
from pathlib import Path

import open_clip
import pytest
import torch

from models.weights.table import checkpoints, compose_table, find_checkpoint, read_key

ROOT = Path(__file__).resolve().parents[3]


def test_every_entry_says_where_it_comes_from() -> None:
    for entry in checkpoints().values():
        assert entry.hub or entry.url
        assert entry.sha256 is None or (entry.url and re.fullmatch(r"[0-9a-f]{8,64}", entry.sha256))
        assert bool(entry.config) == bool(entry.hub and not entry.hub_file)
        assert all(read_key(entry.config, key) is not None for key in entry.check)


def test_a_place_is_recognised_by_id_file_or_folder() -> None:
    assert find_checkpoint("openbmb/MiniCPM-V-2_6") is checkpoints()["minicpm-v-2.6"]
    assert find_checkpoint("/weights/MiniCPM-V-2_6") is checkpoints()["minicpm-v-2.6"]
    assert find_checkpoint("checkpoints/sam_vit_h_4b8939.pth") is checkpoints()["sam-vit-h"]
    assert find_checkpoint("runs/x/mdlm/base/llava") is None


def test_a_file_of_the_hub_is_recognised_in_its_folder_alone() -> None:
    plus, hub = checkpoints()["clip-vit-b-16-plus-240"], "vit_base_patch16_plus_clip_240.laion400m_e31"
    for place in (
        f"timm/{hub}",
        f"/weights/{hub}/open_clip_model.safetensors",
        f"/cache/models--timm--{hub}/snapshots/{'a' * 40}/open_clip_model.safetensors",
        "/weights/vit_b_16_plus_240-laion400m_e31-8fb26589.pt",
    ):
        assert find_checkpoint(place) is plus
    assert find_checkpoint("/weights/open_clip_model.safetensors") is None
    assert find_checkpoint(f"/weights/{hub}/model.safetensors") is None
    dino = f"/cache/models--IDEA-Research--grounding-dino-tiny/snapshots/{'a' * 40}"
    assert find_checkpoint(dino) is checkpoints()["grounding-dino-tiny"]


def test_clips_facts_are_open_clips_own() -> None:
    """Addresses, hub ids and the hashes that open_clip compares a download with."""
    tags = {
        "clip-vit-b-16-plus-240": ("ViT-B-16-plus-240", "laion400m_e31"),
        "clip-vit-b-16-plus-240-e32": ("ViT-B-16-plus-240", "laion400m_e32"),
        "clip-vit-b-16-openai": ("ViT-B-16-quickgelu", "openai"),
    }
    for name, (model, tag) in tags.items():
        entry, theirs = checkpoints()[name], open_clip.get_pretrained_cfg(model, tag)
        assert entry.hub is None or entry.hub == theirs["hf_hub"].rstrip("/")
        assert entry.url in (None, theirs["url"]) and (entry.hub or entry.url)
        if entry.url:
            assert entry.sha256 == Path(entry.url).stem.rsplit("-", 1)[-1]
        with torch.device("meta"):
            built = open_clip.CLIP(**open_clip.get_model_config(model))
        assert sum(4 * value.numel() for value in built.parameters()) / 1e9 == pytest.approx(entry.gigabytes, abs=0.005)


def test_the_table_in_the_readme() -> None:
    assert compose_table() in (ROOT / "models" / "README.md").read_text(encoding="utf-8")
