from pathlib import Path

import pytest

from data import row_log
from data.files import read_jsonl
from data.row_log import ROWS, RowLog


def test_rows_are_written_together_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    append = row_log.append_jsonl
    monkeypatch.setattr(row_log, "append_jsonl", lambda path, rows: (writes.append(len(rows)), append(path, rows)))
    monkeypatch.setattr(row_log, "SECONDS", 1000.0)
    path = tmp_path / "log.jsonl"
    with pytest.raises(KeyboardInterrupt), RowLog(path) as log:
        for number in range(ROWS + 3):
            log.add({"number": number})
        raise KeyboardInterrupt
    assert writes == [ROWS, 3]
    assert [row["number"] for row in read_jsonl(path)] == list(range(ROWS + 3))


def test_a_row_does_not_wait_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_log, "SECONDS", 0.0)
    with RowLog(tmp_path / "log.jsonl") as log:
        log.add({"number": 1})
        assert len(read_jsonl(log.path)) == 1
