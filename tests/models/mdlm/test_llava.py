from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import UserError
from data.files import read_json, write_json
from data.training.grounding import GroundingItem
from models.mdlm.llava import SEG_TOKEN, Attention, LlavaConfig, LlavaEncoder, add_seg_token, load_llava
from models.mdlm.model import MDLM
from models.quantize import QuantizeConfig, quantized_layers
from models.tiny.llava_sam import TinyLlavaConfig, build_tiny_llava, build_tiny_tokenizer


def run(mdlm: MDLM, texts: list[str]) -> tuple:
    assert mdlm.processor is not None
    ids, mask = mdlm.processor.tokenize(texts)
    side = mdlm.processor.tile_size
    torch.manual_seed(1)
    tiles = torch.randn(1, 3, side, side)
    with torch.no_grad():
        return ids, mdlm.llava(ids, mask, tiles, torch.zeros(len(texts), dtype=torch.long))


def test_reads_the_state_at_seg_and_marks_the_text(mdlm: MDLM) -> None:
    ids, states = run(mdlm, ["a scratch at the top left", "dent"])
    for row in range(2):
        (at,) = (ids[row] == mdlm.llava.seg_id).nonzero()[:, 0].tolist()
        assert torch.equal(states.seg[row], states.text[row, at])
        assert not states.text_mask[row, at:].any()
        words = mdlm.processor.tokenizer.decode(ids[row][states.text_mask[row]])  # type: ignore[union-attr]
        assert ["a scratch at the top left", "dent"][row] in words and "<image>" not in words


def test_padding_does_not_change_a_prompt(mdlm: MDLM) -> None:
    _, alone = run(mdlm, ["dent"])
    _, padded = run(mdlm, ["dent", "a much longer text, with a scratch at the top left of it"])
    torch.testing.assert_close(padded.seg[0], alone.seg[0], atol=1e-5, rtol=1e-4)


def test_seg_is_added_once_and_the_embeddings_grow() -> None:
    tokenizer = build_tiny_tokenizer(["scratch"], 300)
    llava = build_tiny_llava(TinyLlavaConfig(width=32, layers=1, heads=2, mlp=32), tokenizer, seed=0)
    tokenizer.add_tokens(["filler"])
    assert add_seg_token(llava, tokenizer) == add_seg_token(llava, tokenizer)
    tokenizer.add_special_tokens({"extra_special_tokens": ["[OTHER]"]})
    seg_id = tokenizer.get_vocab()[SEG_TOKEN]
    assert llava.get_input_embeddings().weight.shape[0] > seg_id


def test_the_tile_and_the_image_index_matter(mdlm: MDLM) -> None:
    assert mdlm.processor is not None
    ids, mask = mdlm.processor.tokenize(["dent", "dent"])
    tiles = torch.randn(2, 3, mdlm.processor.tile_size, mdlm.processor.tile_size) * 3
    encoder: LlavaEncoder = mdlm.llava
    with torch.no_grad():
        same = encoder(ids, mask, tiles, torch.tensor([1, 1])).seg
        different = encoder(ids, mask, tiles, torch.tensor([0, 1])).seg
    assert torch.allclose(same[0], same[1], atol=1e-6)
    assert not torch.allclose(different[0], different[1], atol=1e-5)


def test_the_projector_reads_the_layer_before_the_last_of_the_vision_tower(mdlm: MDLM) -> None:
    assert mdlm.processor is not None
    core = mdlm.llava.llava.model
    last = [layer for layer in core.vision_tower.modules() if type(layer).__name__ == "CLIPEncoderLayer"][-1]
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        last.register_forward_hook(lambda layer, inputs, output: seen.update(before=inputs[0], after=output)),
        core.multi_modal_projector.register_forward_pre_hook(lambda layer, inputs: seen.update(read=inputs[0])),
    ]
    try:
        run(mdlm, ["dent"])
    finally:
        for hook in hooks:
            hook.remove()
    after = seen["after"][0] if isinstance(seen["after"], tuple) else seen["after"]
    assert torch.equal(seen["read"], seen["before"][:, 1:])  # LLaVA's features, without the class token
    assert not torch.allclose(seen["read"], after[:, 1:], atol=1e-3)
    assert mdlm.llava.llava.config.vision_feature_layer == -2


def test_a_wrong_path_is_a_user_error(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match="No LLaVA-NeXT checkpoint"):
        load_llava(LlavaConfig(path=str(tmp_path)))


def test_a_joint_conversation_reads_every_seg_with_its_own_turn(mdlm: MDLM) -> None:
    processor = mdlm.processor
    assert processor is not None
    joint = replace(processor, turn="</s>USER: {prompt} ASSISTANT: {seg}")
    item = GroundingItem("", np.zeros((32, 32, 3), np.uint8), ["a scratch", "a dent"], [])
    other = GroundingItem("", np.full((32, 32, 3), 200, np.uint8), ["dirt"], [])
    batch = joint.collate([item, other, item])
    assert batch.input_ids.shape[0] == 3 and batch.image_index.tolist() == [0, 0, 1, 2, 2]
    assert batch.row_image.tolist() == [0, 1, 2]
    with torch.no_grad():
        states = mdlm.llava(batch.input_ids, batch.attention_mask, batch.tiles, batch.row_image)
    assert states.seg.shape[0] == states.text.shape[0] == 5
    rows = [0, 0, 1, 2, 2]
    words = [processor.tokenizer.decode(batch.input_ids[row][states.text_mask[n]]) for n, row in enumerate(rows)]
    for text, own, foreign in zip(
        words,
        ["a scratch", "a dent", "dirt", "a scratch", "a dent"],
        ["dent", "scratch", "scratch", "dent", "scratch"],
        strict=True,
    ):
        assert own in text and foreign not in text and SEG_TOKEN not in text
    assert not torch.allclose(states.seg[0], states.seg[1], atol=1e-4)
    torch.testing.assert_close(states.seg[:2], states.seg[3:], atol=1e-5, rtol=1e-4)
    first = mdlm.processor.collate([replace(item, prompts=["a scratch"])])  # type: ignore[union-attr]
    with torch.no_grad():
        alone = mdlm.llava(first.input_ids, first.attention_mask, first.tiles, first.row_image)
    torch.testing.assert_close(
        states.seg[:1], alone.seg, atol=1e-5, rtol=1e-4
    )  # later turns change nothing before them


def write_llava(folder: Path) -> Path:
    tokenizer = build_tiny_tokenizer(["scratch"] * 5, 300)
    llava = build_tiny_llava(TinyLlavaConfig(width=32, layers=1, heads=2, mlp=32, vision_width=16), tokenizer, seed=0)
    llava.save_pretrained(folder, max_shard_size="60KB")
    tokenizer.save_pretrained(folder)
    return folder


def test_foreign_and_incomplete_checkpoints_are_named(tmp_path: Path) -> None:
    folder = write_llava(tmp_path / "llava")
    config = LlavaConfig(path=str(folder))
    assert load_llava(config)[0].config.model_type == "llava_next"
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    content = shard.read_bytes()
    shard.unlink()
    with pytest.raises(UserError, match=f"1 of .* shards are missing .*{shard.name}"):
        load_llava(config)
    shard.write_bytes(content[:100])
    with pytest.raises(UserError, match="No LLaVA-NeXT checkpoint at"):
        load_llava(config)
    shard.write_bytes(content)
    index = read_json(folder / "model.safetensors.index.json")
    kept = {name: file for name, file in index["weight_map"].items() if file != shard.name}
    write_json(folder / "model.safetensors.index.json", index | {"weight_map": kept})
    with pytest.raises(UserError, match=r"not a complete LLaVA-NeXT: \d+ weights are missing"):
        load_llava(config)
    settings = read_json(folder / "config.json")
    write_json(folder / "config.json", settings | {"model_type": "llava"})
    with pytest.raises(UserError, match="type 'llava', not 'llava_next'"):
        load_llava(config)


def test_another_vocabulary_is_named(tmp_path: Path) -> None:
    folder = write_llava(tmp_path / "llava")
    build_tiny_tokenizer(["scratch " + " ".join(f"word{k}" for k in range(99))] * 5, 400).save_pretrained(folder)
    with pytest.raises(UserError, match=r"The tokenizer at .* has \d+ tokens, the model \d+\."):
        load_llava(LlavaConfig(path=str(folder)))
    settings = read_json(write_llava(folder) / "config.json")
    write_json(folder / "config.json", settings | {"image_token_index": 7})
    with pytest.raises(UserError, match="is not the model's: <image> is token 4 there and token 7"):
        load_llava(LlavaConfig(path=str(folder)))


def test_pickled_weights_and_a_missing_kernel_are_named(tmp_path: Path) -> None:
    folder = write_llava(tmp_path / "llava")
    with pytest.raises(UserError, match=r"mdlm\.llava\.attention=sdpa"):
        load_llava(LlavaConfig(path=str(folder), attention=Attention.flash_attention_2))
    for path in folder.glob("model*"):
        path.unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled weights"):
        load_llava(LlavaConfig(path=str(folder)))


@pytest.mark.parametrize("attention", [Attention.eager, Attention.sdpa])
def test_the_attention_kernel_is_the_configured_one(tmp_path: Path, attention: Attention) -> None:
    model, _ = load_llava(LlavaConfig(path=str(write_llava(tmp_path / "llava")), attention=attention))
    assert model.model.language_model.config._attn_implementation == attention.value


def test_four_bit_layers_keep_off_the_cpu_kernel_without_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = pytest.importorskip("bitsandbytes").nn.modules
    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)  # as on a CPU that has that kernel
    config = LlavaConfig(path=str(write_llava(tmp_path / "llava")), quantize=QuantizeConfig())
    layers = quantized_layers(load_llava(config, device=torch.device("cpu"))[0])
    assert len(layers) == 7  # four of attention and three of the MLP
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
