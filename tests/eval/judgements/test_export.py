from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import UserError
from data.files import read_json
from eval.judgements.export import ExportConfig, Form, export_judgements
from eval.judgements.judgement import Finding
from eval.judgements.log import JudgementLog
from tests.eval.judgements.judged import judged, photo, region, square


@pytest.fixture
def filled(log: JudgementLog) -> JudgementLog:
    log.append(judged(photo(0), Finding.fine), photo(0))
    log.append(judged(photo(1), Finding.redrawn, regions=(region("dent"),), model="m2"), photo(1), square())
    log.append(judged(photo(2), verdict="unsure", photo="open\x1b[2J.png"), photo(2), square())
    log.append(judged(photo(3), Finding.wrong_class, photo="class.png"), photo(3), square())
    return log


@pytest.mark.parametrize("form", Form)
def test_every_form_counts_what_it_holds_and_lists_what_it_left_out(
    filled: JudgementLog, tmp_path: Path, form: Form
) -> None:
    exported = export_judgements(ExportConfig(log=str(filled.folder), form=form, out=str(tmp_path / "out")))
    said = exported.describe()
    assert "4 judgements of 4 photos: 1 dent, 1 good" in said and "verdicts of 2 models" in said
    assert (
        "Left out: 1 (accepted as unsure" in said and "(wrong class, and nobody named the right one): class.png" in said
    )
    assert "\x1b" not in said
    summary = read_json(tmp_path / "out" / "judgements.json")
    assert summary["photos"] == {"dent": 1, "good": 1} and summary["models"] == {"m1": 2, "m2": 1}
    assert [one["photo"] for one in summary["skipped"]] == ["open\x1b[2J.png", "class.png"]
    assert summary["form"] == form.value


def test_nothing_is_overwritten(filled: JudgementLog, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        export_judgements(ExportConfig(log=str(filled.folder), form=Form.mvtec, out=str(tmp_path / "out")))
    with pytest.raises(UserError, match="No judgements in"):
        export_judgements(ExportConfig(log=str(tmp_path / "no"), form=Form.mvtec, out=str(tmp_path / "new")))
    assert not (tmp_path / "new").exists()
