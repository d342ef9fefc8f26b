import pytest
import torch

from data.errors import UserError
from models.llava import SEG_TOKEN, LlavaConfig, LlavaEncoder, add_seg_token, load_llava
from models.mdlm import MDLM
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


def test_a_wrong_path_is_a_user_error(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match="No LLaVA-NeXT checkpoint"):
        load_llava(LlavaConfig(path=str(tmp_path)))
