import torch

from data.tiny.captions import Turn
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model
from train.tiny.eddm import tiny_tokenizer
from train.tiny.packing import IGNORED, encode, pack, packed_bias


def test_questions_see_the_prefix_and_themselves() -> None:
    bias = packed_bias(torch.tensor([[0, 0, 1, 1, 2, -1]]))[0, 0]
    assert ((bias == 0).int().tolist())[:5] == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
    ]


def test_packed_questions_are_answered_as_if_asked_alone() -> None:
    tokenizer = tiny_tokenizer(1536)
    config = TinyMiniCPMVConfig(text_hidden=64, text_layers=2, text_heads=2, text_intermediate=64, vision_layers=2)
    torch.manual_seed(0)
    model = build_model(config, tokenizer).eval()
    prefix = encode(tokenizer, ["<|im_start|>user\nThe image.\n"])[0]
    turns = [Turn("Where is the mark?", "top left"), Turn("Is any defect visible?\nA. No.\nB. Yes.", "B")]

    def run(group: list[Turn]) -> torch.Tensor:
        packed = pack(tokenizer, [prefix], [group])
        with torch.no_grad():
            hidden = model.model.language_model(
                inputs_embeds=model.get_input_embeddings()(packed.ids),
                attention_mask=packed.bias,
                position_ids=packed.positions,
                use_cache=False,
            ).last_hidden_state
        return hidden[packed.labels != IGNORED]

    torch.testing.assert_close(run(turns), torch.cat([run([turn]) for turn in turns]), atol=1e-4, rtol=1e-4)


def test_only_answers_are_labelled() -> None:
    tokenizer = tiny_tokenizer(1536)
    packed = pack(tokenizer, [[1, 2], [1, 2]], [[Turn("Where is it?", "top left")], [Turn("Which?", "hole", 0.5)]])
    rows = [row[row != IGNORED].tolist() for row in packed.labels]
    assert [tokenizer.decode(row) for row in rows] == ["top left<|im_end|>", "hole<|im_end|>"]
    assert packed.weights[1].max() == 0.5
