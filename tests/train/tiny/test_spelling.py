import numpy as np
import pytest
import torch

from data.masks import Box
from data.tiny.captions import KINDS, Fact, Facts
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model
from train.tiny.eddm import tiny_tokenizer
from train.tiny.packing import encode
from train.tiny.spelling import Spelling

FACTS = Facts(
    "a smooth grey disc",
    (
        Fact("scratch", Box(0, 0, 40, 20), (20.0, 10.0)),
        Fact("hole", Box(5, 5, 15, 15), (10.0, 10.0)),
        Fact("dent", Box(80, 84, 92, 96), (86.0, 90.0)),
    ),
    (96, 96),
)


@pytest.fixture(scope="module")
def spelling() -> Spelling:
    tokenizer = tiny_tokenizer(1536)
    torch.manual_seed(0)
    return Spelling(build_model(TinyMiniCPMVConfig(), tokenizer), tokenizer, 3)


def test_marks_are_read_where_they_are(spelling: Spelling) -> None:
    reading = spelling.read([FACTS])
    assert np.flatnonzero(reading.marked[0]).tolist() == [0, 1, 8]
    assert np.flatnonzero(reading.kinds[0, 0]).tolist() == sorted([KINDS.index("scratch"), KINDS.index("hole")])
    assert reading.marked[0, [0, 8]].tolist() == [1, 1]
    assert reading.marked[0, 1] == pytest.approx(8 / 32)  # the end of the scratch
    assert not reading.kinds[0, 1].any() and not reading.boxes[0, 1].any()
    np.testing.assert_allclose(reading.boxes[0, 8], [80 / 48 - 1, 84 / 48 - 1, 92 / 48 - 1, 1], rtol=1e-5)


def test_a_token_is_most_alike_to_the_words_that_it_says(spelling: Spelling) -> None:
    tokenizer = tiny_tokenizer(1536)
    torch.manual_seed(0)
    words = build_model(TinyMiniCPMVConfig(), tokenizer).get_input_embeddings().weight.detach()
    single = Facts("", FACTS.marks[2:], (96, 96))
    token = (spelling.spell(spelling.read([single])) - spelling.regions)[0, 8]
    scores = [float(token @ words[encode(tokenizer, [f" {kind}"])[0][0]]) for kind in KINDS]
    assert KINDS[int(np.argmax(scores))] == "dent"
    unmarked = spelling.spell(spelling.read([single]))[0, 0]
    assert torch.equal(unmarked, spelling.regions[0])


def test_doubt_changes_the_strength_but_not_which_token_is_marked(spelling: Spelling) -> None:
    reading = spelling.read([FACTS] * 200)
    doubted = spelling.spell_with_doubt(reading, np.random.default_rng(0)) - spelling.regions
    size = doubted.norm(dim=-1)
    marked = torch.from_numpy(reading.marked) == 1
    assert float(size[marked].median()) > 5 * float(size[torch.from_numpy(reading.marked) == 0].median())
    assert float(size[marked].std()) > 0.1


def test_an_empty_reading_spells_only_regions(spelling: Spelling) -> None:
    nothing = spelling.read([Facts("", (), (96, 96))])
    assert torch.equal(spelling.spell(nothing)[0], spelling.regions)
