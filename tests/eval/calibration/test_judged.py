from __future__ import annotations

from pathlib import Path

from eval.calibration.judged import join_judged, tell_judged
from eval.inspection.photos import Photo
from eval.judgements.judgement import Finding
from eval.judgements.log import JudgementLog
from eval.judgements.truth import Truth, read_truth
from tests.eval.judgements.judged import judged, photo, square  # type: ignore[import-not-found]


def test_what_was_said_of_a_photo_counts_not_the_folder_it_lies_in(tmp_path: Path) -> None:
    log = JudgementLog(tmp_path / "log")
    log.append(judged(photo(0), Finding.redrawn, photo="missed.png", model="m1"), photo(0), square())
    log.append(judged(photo(1), Finding.fine, photo="fine.png", model="m2"), photo(1))
    found = []
    for seed in (0, 1, 2):
        path = tmp_path / f"{seed}.png"
        path.write_bytes(photo(seed))
        found.append(Photo(path.name, path))
    truth = read_truth(log.folder)
    sound, defective = join_judged([found[0], found[2]], [found[1]], truth)
    assert [one.name for one in sound] == ["2.png", "fine.png"]
    assert [one.name for one in defective] == ["missed.png"]
    assert join_judged(found[:1], found[1:], Truth([], [])) == (found[:1], found[1:])
    said = tell_judged("LOG", truth, "m2")
    assert "1 sound and 1 defective photos, 1 of them judged by the verdict of another model" in said
    assert "another model" not in tell_judged("LOG", Truth(truth.sound, []), "m2")
