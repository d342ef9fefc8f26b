import pytest
import torch

from data.ddqa.regions import REGIONS
from data.tiny.referring import KINDS
from models.mdlm.sam import Sam, SamConfig
from train.tiny.warmup import MarkBatch, cell_loss, place_codes, point_codes


@pytest.fixture(scope="module")
def sam() -> Sam:
    return Sam(
        SamConfig(
            image_size=96,
            patch_size=8,
            width=32,
            depth=1,
            heads=2,
            global_layers=[0],
            window=0,
            relative_positions=False,
            channels=64,
            decoder_heads=2,
            decoder_mlp=32,
        )
    )


def test_a_place_prompt_is_most_like_the_cells_of_its_region(sam: Sam) -> None:
    codes = place_codes(sam)
    assert codes.shape == (len(REGIONS) + 1, 64) and not codes[-1].any()
    likeness = torch.einsum("nc,chw->nhw", codes[:-1], sam.positions()[0])
    blocks = likeness.reshape(9, 3, 4, 3, 4).mean((2, 4)).flatten(1)
    assert blocks.argmax(1).tolist() == list(range(9))


def test_a_point_prompt_is_most_like_the_cell_of_its_mask(sam: Sam) -> None:
    masks = torch.zeros(2, 48, 48)
    masks[0, 8:12, 40:44] = 1  # 4 pixels a cell: row 2, column 10
    masks[1, 30:33, 1:3] = 1
    likeness = torch.einsum("nc,chw->nhw", point_codes(sam, masks), sam.positions()[0])
    assert likeness.flatten(1).argmax(1).tolist() == [2 * 12 + 10, 7 * 12 + 0]


def test_cell_loss_rewards_the_right_cell_and_kind() -> None:
    masks = torch.zeros(1, 8, 8)
    masks[0, :4, 4:] = 1
    one = torch.tensor([0])
    batch = MarkBatch(["a"], torch.zeros(1, 3, 16, 16), one, torch.tensor([2]), one, masks)
    cells = torch.full((1, len(KINDS) + 1, 2, 2), -8.0)
    silent = cell_loss(cells, batch)
    cells[0, 2, 0, 1] = cells[0, -1, 0, 1] = 8.0
    right = cell_loss(cells, batch)
    wrong = cell_loss(cells.roll(1, dims=1), batch)
    assert right < 0.01 < silent < wrong
