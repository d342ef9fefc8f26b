from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from data.ddqa.wording import Task
from data.errors import UserError
from eval.assistant.assistant import Assistant, Seen, find_range, load_assistant
from eval.assistant.config import AppConfig
from eval.assistant.judging import make_judgement
from eval.assistant.uploads import take_uploads
from eval.calibration.file import Calibration
from eval.inspection.decision import Verdict
from eval.judgements.export import Form
from eval.judgements.judgement import Finding
from tests.eval.assistant.redness import MakeAssistant, WritePhoto

PLACE = (slice(10, 20), slice(30, 50))


def look(assistant: Assistant, photos: Sequence[Path]) -> list[Seen]:
    uploads = take_uploads(photos, assistant.bounds).uploads
    return [seen for batch in assistant.inspect(uploads) for seen in batch]


def test_photos_come_back_a_batch_at_a_time_with_small_pictures(
    make_assistant: MakeAssistant, write_photo: WritePhoto
) -> None:
    assistant = make_assistant()
    photos = [write_photo(f"{index}.png", (100 + index, *PLACE)) for index in range(6)]
    uploads = take_uploads(photos, assistant.bounds).uploads
    assert [len(batch) for batch in assistant.inspect(uploads)] == [4, 2]
    (seen, *_) = look(assistant, photos[:1])
    assert seen.thumbnail is not None and seen.thumbnail.is_file() and seen.found.image is None
    assert seen.found.row.name == "0.png" and seen.found.row.score == pytest.approx(100 / 255)


def test_one_model_is_never_used_by_two_at_once(make_assistant: MakeAssistant, write_photo: WritePhoto) -> None:
    assistant = make_assistant()
    photos = [write_photo(f"{index}.png", (100 + index, *PLACE), size=(300, 300)) for index in range(12)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda photo: look(assistant, [photo])[0], photos))
    assert [seen.upload.name for seen in found] == [photo.name for photo in photos]
    assert assistant.inspector.source.together == 0  # type: ignore[attr-defined]
    assert len(assistant.inspector.source.batches) == 12  # type: ignore[attr-defined]


def test_another_threshold_decides_again_without_the_model(
    make_assistant: MakeAssistant, write_photo: WritePhoto
) -> None:
    assistant = make_assistant()
    (seen,) = look(assistant, [write_photo("a.png", (150, *PLACE))])
    asked = len(assistant.inspector.source.batches)  # type: ignore[attr-defined]
    same, higher = assistant.decide(seen, 0.5), assistant.decide(seen, 0.7)
    assert same.row == seen.found.row and same.mask is not None and same.mask.sum() == 200
    assert (same.row.verdict, higher.row.verdict) == (Verdict.defect, Verdict.ok)
    assert higher.row.threshold == 0.7 and higher.row.regions == () and not higher.mask.any()  # type: ignore[union-attr]
    assert len(assistant.inspector.source.batches) == asked  # type: ignore[attr-defined]


def test_the_slider_counts_the_sound_images_that_it_flags(
    make_assistant: MakeAssistant, calibration: Calibration
) -> None:
    assistant = make_assistant(calibration=calibration)
    assert assistant.range.start == calibration.threshold
    assert "flags 1 of the 40" in assistant.count_alarms(assistant.range.start)
    flagged = {t: sum(score >= t for score in calibration.sound) for t in (0.05, 0.205, 0.455, 0.9)}
    for threshold, count in flagged.items():
        assert f"flags {count} of the 40 sound images" in assistant.count_alarms(threshold)
    assert list(flagged.values()) == [40, 29, 4, 0]
    assert "Not calibrated" in make_assistant().count_alarms(0.5)


def test_a_slider_that_rounds_stands_where_it_began(make_assistant: MakeAssistant, calibration: Calibration) -> None:
    assistant = make_assistant(calibration=calibration)
    start = calibration.threshold
    assert assistant.exactly(round(start, 2)) == start and assistant.exactly(start + 0.01) == start + 0.01


def test_a_slider_of_scores_without_an_upper_end_reaches_beyond_the_threshold(make_assistant: MakeAssistant) -> None:
    inspector = make_assistant().inspector
    inspector.source.bounded = False
    found = find_range(inspector)
    assert (found.low, found.high, found.start) == (0.0, 1.0, 0.5)


def test_the_least_certain_photos_come_first_and_the_unreadable_last(
    make_assistant: MakeAssistant, write_photo: WritePhoto
) -> None:
    assistant = make_assistant()
    photos = [write_photo(f"{red}.png", (red, *PLACE)) for red in (250, 126, 60, 140)]
    broken = write_photo("broken.png")
    content = bytearray(broken.read_bytes())
    content[50:70] = b"\0" * 20  # the header is whole
    broken.write_bytes(bytes(content))
    seen = look(assistant, [broken, *photos])
    assert seen[0].found.row.verdict is Verdict.unreadable and "broken.png" in seen[0].found.row.error
    assert str(broken.parent) not in seen[0].found.row.error
    assert [seen[index].upload.name for index in assistant.order(seen, 0.5)] == [
        *("126.png", "140.png", "60.png", "250.png", "broken.png")
    ]
    assert assistant.order(seen, 0.95)[0] == 1  # 250 is nearest then


def test_what_cannot_be_loaded_is_said_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No run directory"):
        load_assistant(AppConfig(run=str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match="Give one of run=RUN"):
        load_assistant(AppConfig())


def test_a_conversation_goes_on_about_its_photo(make_assistant: MakeAssistant, write_photo: WritePhoto) -> None:
    assistant = make_assistant()
    dialogue = assistant.talk(write_photo("a.png", (240, *PLACE)))
    assert assistant.ask(dialogue, "What is it?") == "What is it? <b>[0]</b>"
    assert assistant.ask(dialogue, "And where?") == "And where? <b>[1]</b>"
    assert "visible defect" in assistant.ask(dialogue, Task.AD) and len(dialogue.turns) == 3
    with pytest.raises(UserError, match="question is empty"):
        assistant.ask(dialogue, "  ")
    assistant.eddm = None
    with pytest.raises(UserError, match="Nobody is there to answer"):
        assistant.talk(write_photo("a.png"))


def test_judgements_are_kept_named_exported_and_told_apart_by_model(
    make_assistant: MakeAssistant, write_photo: WritePhoto, tmp_path: Path
) -> None:
    assistant = make_assistant()
    (seen,) = look(assistant, [write_photo("a.png", (240, *PLACE))])
    with pytest.raises(UserError, match="No judgements in"):
        assistant.export(Form.coco, tmp_path)
    judgement, mask = make_judgement(
        seen, assistant.decide(seen, 0.5), Finding.wrong_class, model="red-1", user="ann", name="chip"
    )
    assert assistant.judge(judgement, seen, mask) == 1 and assistant.greet() == []
    assert assistant.names() == ["chip", "deep hole", "dent"]
    packed, words = assistant.export(Form.mvtec, tmp_path)
    assert "1 judgements of 1 photos: 1 chip" in words and str(tmp_path) not in words
    with ZipFile(packed) as file:
        assert any("chip" in name and name.endswith(".png") for name in file.namelist())
    assistant.judge(replace(judgement, model="another"), seen, mask)
    assert "1 of the 2 judgements" in make_assistant().greet()[0]


def test_a_log_that_is_none_is_said(make_assistant: MakeAssistant, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "judgements.sqlite").write_bytes(b"no database at all, but long enough" * 9)
    with pytest.raises(UserError, match="judgements"):
        make_assistant()


def test_a_log_that_cannot_be_written_is_told_at_once(
    make_assistant: MakeAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assistant = make_assistant()
    assert assistant.greet() == []
    monkeypatch.setattr("os.access", lambda *_: False)
    (line,) = assistant.greet()
    assert line.startswith("Judgements cannot be kept") and "Give another judgements=" in line


def test_only_models_that_cannot_follow_a_conversation_are_asked_alone(
    make_assistant: MakeAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assistant = make_assistant()
    assert not assistant.asks_alone
    monkeypatch.setattr("eval.assistant.assistant.turns_of", lambda chat: 0)
    assert assistant.asks_alone
    assistant.eddm = None
    assert not assistant.asks_alone
