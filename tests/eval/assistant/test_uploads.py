from pathlib import Path

from eval.assistant.uploads import Bounds, about, take_uploads
from tests.eval.assistant.redness import WritePhoto

BOUNDS = Bounds(photos=3, megapixels=1, megabytes=1)


def test_photos_are_taken_once_each_with_their_hash_and_size(write_photo: WritePhoto, tmp_path: Path) -> None:
    one = write_photo("one.png")
    copy = tmp_path / "copy.png"
    copy.write_bytes(one.read_bytes())
    taken = take_uploads([one, copy], BOUNDS)
    (upload,) = taken.uploads
    assert (upload.name, upload.pixels, len(upload.image_hash), taken.copies) == ("one.png", 2400, 64, 1)
    again = take_uploads([copy], BOUNDS, known=[upload.image_hash], pixels=2400)
    assert (again.uploads, again.copies, again.refused) == ([], 1, [])


def test_what_is_refused_is_named_without_its_place_and_the_rest_is_taken(
    write_photo: WritePhoto, tmp_path: Path
) -> None:
    good = write_photo("good.png")
    broken, empty, text = (tmp_path / name for name in ("broken.png", "empty.jpg", "notes.txt"))
    broken.write_bytes(good.read_bytes()[:-40])
    empty.touch()
    text.write_text("no picture")
    gone = tmp_path / "gone.png"
    taken = take_uploads([broken, good, empty, text, gone], BOUNDS)
    assert [upload.name for upload in taken.uploads] == ["good.png"]
    assert len(taken.refused) == 4 and not any(str(tmp_path) in line for line in taken.refused)
    for name, line in zip(("broken.png", "empty.jpg", "notes.txt", "gone.png"), taken.refused, strict=True):
        assert name in line


def test_number_pixels_and_bytes_are_bounded(write_photo: WritePhoto, tmp_path: Path) -> None:
    small = [write_photo(f"{index}.png", (index + 40, slice(0, 9), slice(0, 9))) for index in range(4)]
    taken = take_uploads(small, BOUNDS)
    assert len(taken.uploads) == 3 and "holds 3 photos" in taken.refused[0]
    large = write_photo("large.png", size=(1000, 1001))
    assert "1.0 megapixels" in take_uploads([large], BOUNDS).refused[0]
    assert take_uploads([write_photo("fits.png", size=(900, 1000))], BOUNDS).uploads
    heavy = tmp_path / "heavy.png"
    heavy.write_bytes(small[0].read_bytes() + b"\0" * 1_000_001)
    assert "heavy.png' has 1 MB, at most 1" in take_uploads([heavy], BOUNDS).refused[0]


def test_control_characters_of_a_name_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2Jb.png"
    assert about(f"Corrupt image: {path}", path) == "Corrupt image: 'a\\x1b[2Jb.png'"
