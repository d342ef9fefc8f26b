from pathlib import Path

import pytest

from data import row_log
from data.files import append_jsonl, read_jsonl
from data.ranks import Ranks
from data.row_log import ROWS, RowLog, own_log, take_in


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


def test_the_logs_of_ranks_become_one_in_the_order_of_one_process(tmp_path: Path) -> None:
    path = tmp_path / "images [1].jsonl"
    append_jsonl(path, [{"key": "old"}])
    names = [str(number) for number in range(25)]
    for rank in range(12):
        ranks = Ranks(rank, 12)
        append_jsonl(own_log(path, ranks), [{"key": name} for name in ranks.share(names)])
    append_jsonl(tmp_path / "images 1.rank0.jsonl", [{"key": "another log's"}])
    take_in(path, names)
    assert [row["key"] for row in read_jsonl(path)] == ["old", *names]
    assert len(list(tmp_path.iterdir())) == 2
    before = path.read_bytes()
    take_in(path)
    assert path.read_bytes() == before
    assert own_log(path, Ranks()) == path
