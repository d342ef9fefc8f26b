import pytest

from data.errors import UserError
from eval.assistant.session import Session
from eval.assistant.uploads import take_uploads
from eval.assistant.views import View
from eval.judgements.judgement import Finding
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


def test_each_photo_has_its_own_conversation_and_judgement(
    make_assistant: MakeAssistant, write_photo: WritePhoto
) -> None:
    assistant, session = make_assistant(), Session()
    with pytest.raises(UserError, match="Drop a photo first"):
        session.talk(assistant)
    with pytest.raises(UserError, match="no verdict to judge"):
        session.judge(assistant, 0.5, Finding.fine, user="ann")
    photos = [write_photo(f"{red}.png", (red, slice(10, 20), slice(30, 50))) for red in (90, 240)]
    session.photos = next(assistant.inspect(take_uploads(photos, assistant.bounds).uploads))
    session.shown = 1
    assistant.ask(session.talk(assistant), "What is it?")
    assert session.judge(assistant, 0.5, Finding.fine, user="ann") == 1
    assert len(session.turns()) == 1 and session.judged == {1: Finding.fine}
    session.shown = 0
    assert session.turns() == [] and session.judge(assistant, 0.5, Finding.accepted, user="ben") == 2
    said = [(one.photo, one.user, one.model, one.verdict) for one in assistant.log]
    assert said == [("240.png", "ann", "red-1", "defect"), ("90.png", "ben", "red-1", "ok")]
    assert session.go_on([0, 1]) is False  # both were judged
