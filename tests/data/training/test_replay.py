from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.files import write_jsonl
from data.training.grounding import GroundingItem
from data.training.replay import ReplayItems


def make_items() -> list[GroundingItem]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 12, 16, 3), dtype=np.uint8)
    masks = rng.random((3, 12, 16)) < 0.3
    return [
        GroundingItem("one", images[0], ["a scratch", "nothing"], [masks[0], np.zeros((12, 16), bool)]),
        GroundingItem("two", images[1], ["a hole"], [masks[2]]),
    ]


def write_replay(folder: Path, items: list[GroundingItem]) -> None:
    folder.mkdir()
    rows = []
    for number, item in enumerate(items):
        masks = [f"{number}-{index}.png" for index in range(len(item.masks))]
        cv2.imwrite(str(folder / f"{number}.png"), cv2.cvtColor(item.image, cv2.COLOR_RGB2BGR))
        for name, mask in zip(masks, item.masks, strict=True):
            cv2.imwrite(str(folder / name), mask.astype(np.uint8) * 255)
        rows.append({"id": item.id, "image": f"{number}.png", "prompts": item.prompts, "masks": masks})
    write_jsonl(folder / "items.jsonl", rows)


def test_items_come_back_exactly_in_every_epoch(tmp_path: Path) -> None:
    write_replay(tmp_path / "replay", make_items())
    items = ReplayItems(tmp_path / "replay" / "items.jsonl")
    assert len(items) == 2
    for epoch in (0, 5):
        for index, expected in enumerate(make_items()):
            item = items.get(epoch, index)
            assert (item.id, item.prompts) == (expected.id, expected.prompts)
            assert np.array_equal(item.image, expected.image) and item.image.dtype == np.uint8
            assert all(np.array_equal(a, b) for a, b in zip(item.masks, expected.masks, strict=True))


def test_the_fingerprint_follows_texts_and_pixels_not_the_place(tmp_path: Path) -> None:
    def fingerprint(name: str, items: list[GroundingItem]) -> str:
        write_replay(tmp_path / name, items)
        return ReplayItems(tmp_path / name / "items.jsonl").fingerprint()

    first = fingerprint("a", make_items())
    assert fingerprint("b", make_items()) == first
    other_mask, other_text = make_items(), make_items()
    other_mask[0].masks[0][0, 0] ^= True
    other_text[1].prompts[0] = "a dent"
    assert len({first, fingerprint("c", other_mask), fingerprint("d", other_text)}) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "No replay items at"),
        ([], "No replay items in"),
        ([{"id": "x", "image": "0.png", "prompts": ["a"], "masks": []}], "line 1.*one mask a prompt"),
        ([{"id": "x", "image": "0.png", "prompts": ["a"]}], "line 1"),
    ],
)
def test_bad_files_are_user_errors(tmp_path: Path, rows: list[dict[str, object]] | None, message: str) -> None:
    if rows is not None:
        write_jsonl(tmp_path / "items.jsonl", rows)
    with pytest.raises(UserError, match=message):
        ReplayItems(tmp_path / "items.jsonl")


@pytest.mark.parametrize("name", ["../secret.png", "link.png"])
def test_items_stay_below_their_folder(tmp_path: Path, name: str) -> None:
    write_replay(tmp_path / "replay", make_items())
    (tmp_path / "replay/0.png").rename(tmp_path / "secret.png")
    (tmp_path / "replay/link.png").symlink_to(tmp_path / "secret.png")
    path = tmp_path / "replay" / "items.jsonl"
    path.write_text(path.read_text().replace("0.png", name, 1))
    items = ReplayItems(path)
    for use in (items.fingerprint, lambda: items.get(0, 0)):
        with pytest.raises(UserError, match=rf"Path outside its folder: '{name}' in .*items\.jsonl"):
            use()
