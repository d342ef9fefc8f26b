from eval.assistant.session import Session
from eval.assistant.uploads import take_uploads
from eval.assistant.views import View
from tests.eval.assistant.redness import MakeAssistant, WritePhoto


def test_going_on_shows_each_photo_once_and_then_begins_anew() -> None:
    session = Session(photos=[None] * 3, shown=0)  # type: ignore[list-item]
    shown = []
    for _ in range(3):
        fresh = session.go_on([2, 0, 1])
        shown.append((session.shown, fresh))
    assert shown == [(2, True), (1, True), (2, False)]
    empty = Session()
    assert not empty.go_on([]) and empty.shown is None


def test_the_picture_is_that_of_the_photo_that_is_shown(make_assistant: MakeAssistant, write_photo: WritePhoto) -> None:
    assistant, session = make_assistant(), Session()
    assert session.seen is None and session.decided(assistant, 0.5) is None
    photos = [write_photo(f"{red}.png", (red, slice(10, 20), slice(30, 50))) for red in (90, 240)]
    taken = take_uploads(photos, assistant.bounds)
    session.photos = next(assistant.inspect(taken.uploads))
    for index, red in enumerate((90, 240)):
        session.shown = index
        decided = session.decided(assistant, 0.5)
        assert decided is not None
        assert session.draw(assistant, decided, View.image, 1.0)[15, 40, 0] == red
    assert session.pixels == 4800 and session.hashes == [upload.image_hash for upload in taken.uploads]
