"""SAM from Meta's files and from transformers' checkpoints: equal weights, equal outputs, and messages."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import SamConfig as TransformersConfig
from transformers import SamModel

from data.errors import UserError
from models.mdlm.sam import SamConfig, build_sam
from models.mdlm.sam_checkpoint import read_sam_weights
from models.weights.shards import list_shards


def meta_config(**changes: object) -> SamConfig:
    values = {"image_size": 64, "patch_size": 16, "width": 32, "depth": 2, "heads": 2, "global_layers": [1]}
    values |= {"window": 2, "channels": 32, "decoder_heads": 2, "decoder_mlp": 64}
    return SamConfig(**(values | changes))  # type: ignore[arg-type]


def transformers_model() -> SamModel:
    torch.manual_seed(0)
    vision = {"hidden_size": 32, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {
        "image_size": 64,
        "patch_size": 16,
        "window_size": 2,
        "global_attn_indexes": [1],
        "mlp_dim": 128,
        "num_pos_feats": 16,
    }
    prompt = {"hidden_size": 32, "image_size": 64, "patch_size": 16, "mask_input_channels": 16}
    decoder = {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 2}
    model = SamModel(
        TransformersConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def test_a_transformers_checkpoint_gives_the_same_outputs(tmp_path: Path) -> None:
    theirs = transformers_model()
    theirs.save_pretrained(tmp_path / "hf")
    ours = build_sam(meta_config(checkpoint=str(tmp_path / "hf"))).eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        embeddings = theirs.get_image_embeddings(pixels)
        torch.testing.assert_close(ours.image_encoder(pixels), embeddings, atol=1e-5, rtol=1e-4)
        prompts = torch.randn(2, 32)
        _, dense = ours.prompt_encoder(points=None, boxes=None, masks=None)
        for k in range(2):
            masks, _ = theirs.mask_decoder(
                image_embeddings=embeddings[k : k + 1],
                image_positional_embeddings=theirs.get_image_wide_positional_embeddings(),
                sparse_prompt_embeddings=prompts[k].reshape(1, 1, 1, -1),
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            decoded = ours.decode(embeddings[k : k + 1], prompts[k : k + 1])
            torch.testing.assert_close(decoded[0], masks[0, 0, 0], atol=1e-5, rtol=1e-4)


def test_a_sharded_checkpoint_loads_and_a_missing_shard_is_named(tmp_path: Path) -> None:
    theirs = transformers_model()
    theirs.save_pretrained(tmp_path / "one")
    theirs.save_pretrained(tmp_path / "many", max_shard_size="100KB")
    shards = list_shards(tmp_path / "many")
    assert len(shards) > 1
    one, many = (read_sam_weights(str(tmp_path / name))[1] for name in ("one", "many"))
    assert one.keys() == many.keys() and all(torch.equal(one[name], many[name]) for name in one)
    shards[1].unlink()
    with pytest.raises(UserError, match=f"1 of {len(shards)} shards are missing .*{shards[1].name}"):
        read_sam_weights(str(tmp_path / "many"))


@pytest.mark.parametrize("size", ["vit_b", "vit_l", "vit_h"])
def test_the_options_are_the_published_sizes(size: str) -> None:
    from omegaconf import OmegaConf
    from segment_anything import sam_model_registry

    from models.mdlm.sam import Sam

    with torch.device("meta"):
        published = sam_model_registry[size]().state_dict()
        values = OmegaConf.to_container(OmegaConf.load(f"configs/sam/{size}.yaml"))
        own = Sam(SamConfig(**values)).state_dict()  # type: ignore[arg-type]
    assert {name: value.shape for name, value in own.items()} == {
        name: value.shape for name, value in published.items()
    }


def test_another_size_names_the_option_to_set(tmp_path: Path) -> None:
    small = meta_config()
    save_file(build_sam(small).state_dict(), tmp_path / "sam.safetensors")
    with pytest.raises(UserError, match=r"width 32 and depth 2, .* asks for ViT-B \(sam=vit_b\)"):
        build_sam(SamConfig(checkpoint=str(tmp_path / "sam.safetensors"), width=768, depth=12, heads=12))


def test_pickles_and_damaged_files_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    folder.mkdir()
    with pytest.raises(UserError, match=r"No weights in"):
        build_sam(meta_config(checkpoint=str(folder)))
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pickled weights \(pytorch_model\.bin\)"):
        build_sam(meta_config(checkpoint=str(folder)))
    with pytest.raises(UserError, match=r"neither Meta's \.pth nor safetensors"):
        build_sam(meta_config(checkpoint=str(folder / "pytorch_model.bin")))
    torch.save(build_sam(meta_config()).state_dict(), tmp_path / "renamed.safetensors")
    with pytest.raises(UserError, match="damaged, not what its name says"):
        build_sam(meta_config(checkpoint=str(tmp_path / "renamed.safetensors")))
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    with pytest.raises(UserError, match="damaged"):
        build_sam(meta_config(checkpoint=str(tmp_path / "page.pth")))
    torch.save(Path("x"), tmp_path / "code.pth")
    with pytest.raises(UserError, match="damaged"):
        build_sam(meta_config(checkpoint=str(tmp_path / "code.pth")))
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(UserError, match="no plain dictionary"):
        build_sam(meta_config(checkpoint=str(tmp_path / "list.pth")))
