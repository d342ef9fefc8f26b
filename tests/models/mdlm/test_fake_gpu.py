"""The paper-size MDLM on a GPU that is not there: from images to maps, up to where values leave the device."""

import numpy as np
import pytest
import torch
from torch import nn

from data.training.grounding import GroundingItem
from models.device import Placement
from models.mdlm.llava import SEG_TOKEN, ImageTiles, LlavaConfig
from models.mdlm.model import MDLM, MDLMConfig, build_mdlm, build_processor
from models.mdlm.sam import SamConfig
from models.tiny.llava_sam import build_tiny_tokenizer
from models.weights.shapes import architecture, build_llava_shape, build_sam_shape
from train.plan.meter import Meter, fake_weights

GPU = Placement("cuda:0", "bfloat16")
SIZES = [(700, 900), (300, 200)]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast asks whether there is one."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)


def paper_mdlm(tiles: ImageTiles) -> MDLM:
    values = architecture("llava-hf/llava-v1.6-vicuna-7b-hf")
    config = MDLMConfig(llava=LlavaConfig(path="", image_tiles=tiles), sam=SamConfig())
    llava, sam = build_llava_shape(values).to(torch.bfloat16), build_sam_shape(config.sam)
    tokenizer = build_tiny_tokenizer(["a scratch in the lower left"], 300)
    words = tokenizer.get_vocab()
    llava.config.image_token_id = words["<image>"]
    with torch.device("meta"):
        model = build_mdlm(llava, words[SEG_TOKEN], sam, config)
    model.processor = build_processor(llava, tokenizer, sam, config.llava)
    return model.eval()


@pytest.mark.parametrize("tiles", list(ImageTiles))
def test_maps_of_the_papers_size(gpu: None, tiles: ImageTiles) -> None:
    model = paper_mdlm(tiles)
    assert model.processor is not None
    images = [np.zeros((*size, 3), np.uint8) for size in SIZES]
    prompts = [["a scratch"], ["a scratch in the lower left"]]
    batch = model.processor.collate(
        [GroundingItem("", image, text, []) for image, text in zip(images, prompts, strict=True)]
    )
    seen: dict[str, torch.Tensor] = {}
    watched = {
        "SAM": model.sam.image_encoder.blocks[0].attn.qkv,
        "language": model.llava.llava.model.language_model.layers[31].mlp.down_proj,
        "decoder": model.sam.mask_decoder.output_hypernetworks_mlps[0].layers[0],
    }
    for name, layer in watched.items():
        layer.register_forward_hook(lambda _, __, output, name=name: seen.__setitem__(name, output))
    with fake_weights(model, "cuda"), Meter():  # which keeps what is on the CPU readable, as it is
        model.placement = GPU
        maps, scores = model.localize(batch, SIZES)
    assert [tuple(one.shape) for one in maps] == SIZES and scores.shape == (2,)
    for one in [*maps, scores]:
        assert one.dtype is torch.float32 and one.device == GPU.device
    for name, output in seen.items():
        assert (output.dtype, output.device) == (torch.bfloat16, GPU.device), name
    assert len(seen) == len(watched)


@pytest.mark.parametrize("part", ["projection", "dam", "sam.prompt_encoder"])
def test_a_part_left_on_the_cpu_is_noticed(gpu: None, part: str) -> None:
    model = paper_mdlm(ImageTiles.base)
    assert model.processor is not None
    batch = model.processor.collate([GroundingItem("", np.zeros((64, 64, 3), np.uint8), ["a scratch"], [])])
    with fake_weights(model, "cuda"):
        model.placement = GPU
        for module in model.get_submodule(part).modules():
            for tensors in (module._parameters, module._buffers):
                for name, old in tensors.items():
                    tensors[name] = None if old is None else _on_cpu(old)
        with pytest.raises(RuntimeError, match="device"):
            model.localize(batch, [(64, 64)])


def _on_cpu(old: torch.Tensor) -> torch.Tensor:
    new = torch.empty(old.shape, dtype=old.dtype)
    return nn.Parameter(new) if isinstance(old, nn.Parameter) else new
