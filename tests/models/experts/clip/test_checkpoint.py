"""Weights of a CLIP: what is missing, damaged or another model's is named, with the way out."""

import json
import re
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from data.errors import UserError
from models.experts.clip.checkpoint import ENTRY, check_towers, find_checkpoint, list_shapes, load_model
from models.weights.table import checkpoints
from tests.models.experts.clip.conftest import TINY, write_weights


def test_the_weights_come_from_the_file(checkpoint: Path) -> None:
    model, tokenize = load_model("tiny-clip", find_checkpoint("tiny-clip", str(checkpoint)))
    saved = load_file(checkpoint)
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    assert tokenize(["a nut"]).shape == (1, 77)


def test_shapes_are_those_of_the_file(checkpoint: Path) -> None:
    assert list_shapes("tiny-clip") == {name: tuple(value.shape) for name, value in load_file(checkpoint).items()}


def test_a_missing_file_is_named_with_its_size_and_where_to_get_it() -> None:
    with pytest.raises(UserError) as error:
        find_checkpoint("ViT-B-16-plus-240", "/nowhere.pt")
    said = str(error.value)
    assert said.startswith("No file at /nowhere.pt. Give clip.checkpoint=FILE with the weights of ViT-B-16-plus-240")
    assert "about 0.8 GB" in said and checkpoints()[ENTRY].download in said


def test_so_are_those_of_another_model_that_open_clip_knows() -> None:
    with pytest.raises(UserError, match=r"weights of ViT-B-16-quickgelu, about 0\.6 GB: hf download .*openai \(?"):
        find_checkpoint("ViT-B-16-quickgelu", "")


def test_an_unknown_model_is_refused(checkpoint: Path) -> None:
    with pytest.raises(UserError, match="open_clip has no model 'ViT-Q'"):
        load_model("ViT-Q", checkpoint)
    with pytest.raises(UserError, match="open_clip has no model 'ViT-Q'"):
        find_checkpoint("ViT-Q", "/nowhere.pt")


def test_a_file_of_another_patch_grid_is_refused_with_both_grids(checkpoint: Path, tmp_path: Path) -> None:
    vision = TINY["vision_cfg"] | {"patch_size": 20}  # type: ignore[operator]
    (tmp_path / "coarse-clip.json").write_text(json.dumps(TINY | {"vision_cfg": vision}))
    open_clip.add_model_config(tmp_path / "coarse-clip.json")
    with pytest.raises(UserError, match=re.escape("made for 5 × 5 patches of 16 pixels, this model for 4 × 4 patches")):
        load_model("coarse-clip", checkpoint)


def test_a_file_of_another_model_is_refused_with_what_does_not_fit(checkpoint: Path, tmp_path: Path) -> None:
    state = load_file(checkpoint)
    del state["visual.proj"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(UserError, match=r"does not fit clip\.model=tiny-clip: .*visual\.proj"):
        load_model("tiny-clip", tmp_path / "part.safetensors")


def test_a_network_without_patch_tokens_is_refused(tmp_path: Path) -> None:
    model, _ = load_model("RN50", write_weights("RN50", tmp_path / "rn50.safetensors"))
    with pytest.raises(UserError, match="RN50 has no class token beside plain patch tokens"):
        check_towers(model, "RN50")
