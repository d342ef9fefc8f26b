from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.errors import UserError
from eval.judgements.judgement import Finding
from eval.judgements.log import JudgementLog, hash_photo
from tests.eval.judgements.judged import judged, photo, region, square

ROOT = Path(__file__).resolve().parents[3]
WRITER = """
import sys
from pathlib import Path
from eval.judgements.judgement import Finding
from eval.judgements.log import JudgementLog
from tests.eval.judgements.judged import judged, photo
log = JudgementLog(Path(sys.argv[1]))
for index in range(int(sys.argv[3])):
    image = photo(index)
    log.append(judged(image, Finding.fine, user=sys.argv[2], note=str(index)), image)
"""


def test_what_is_appended_is_read_back_in_order(log: JudgementLog) -> None:
    first, second = photo(1), photo(2, suffix=".jpg")
    regions = (region("dent"), region("scratch", left=5, stands=False))
    one = judged(first, Finding.wrong_class, regions=regions, note='a "quoted"\nΩ', photo="../../etc/1.png")
    two = judged(second, Finding.fine, user="bob", model="m2", verdict="unsure", score=0.1)
    assert (log.append(one, first, square()), log.append(two, second)) == (1, 2)
    read = list(JudgementLog(log.folder))
    assert [replace(found, id=0, mask="") for found in read] == [one, two]
    assert [found.id for found in read] == [1, 2] and len(log) == 2
    assert log.image_path(one.image_hash).read_bytes() == first
    assert log.image_path(two.image_hash).suffix == ".jpg"
    assert np.array_equal(log.mask(one.image_hash), square())
    assert log.mask(two.image_hash) is None and log.mask("0" * 64) is None
    assert log.models() == {"m1": 1, "m2": 1}
    assert all(path.is_relative_to(log.folder) for path in log.folder.rglob("*"))
    assert sorted(path.name for path in log.folder.parent.iterdir()) == ["log"]


def test_an_empty_log_is_empty_and_makes_no_file(log: JudgementLog) -> None:
    assert (list(log), log.latest(), log.models(), len(log)) == ([], {}, {}, 0)
    assert not log.folder.exists()
    with pytest.raises(UserError, match="No judgement of the photo"):
        log.image_path("0" * 64)


def test_the_last_word_on_a_photo_counts_and_its_file_is_kept_once(log: JudgementLog) -> None:
    image, other = photo(1), photo(2)
    log.append(judged(image, Finding.redrawn), image, square())
    log.append(judged(other), other, square())
    log.append(judged(image, Finding.fine, photo="renamed.png"), image)
    last = log.latest()
    assert [found.finding for found in last.values()] == [Finding.fine, Finding.accepted]
    assert log.mask(hash_photo(image)) is None
    assert log.mask_path(next(iter(log))) is not None  # the earlier word keeps its own
    assert len(list((log.folder / "photos").iterdir())) == 2 and len(list((log.folder / "masks").iterdir())) == 1


@pytest.mark.parametrize(
    "question",
    [
        "UPDATE judgements SET finding = 'fine'",
        "DELETE FROM judgements",
        "INSERT OR REPLACE INTO judgements SELECT * FROM judgements WHERE id = 1",
    ],
)
def test_the_database_itself_refuses_to_change_a_row(log: JudgementLog, question: str) -> None:
    image = photo()
    log.append(judged(image), image, square())
    before = list(log)
    with closing(sqlite3.connect(log.path)) as database, pytest.raises(sqlite3.IntegrityError, match="only added"):
        database.execute(question)
    assert list(log) == before


def test_eight_processes_lose_nothing(log: JudgementLog) -> None:
    users = [f"user{number}" for number in range(8)]
    started = [subprocess.Popen([sys.executable, "-c", WRITER, str(log.folder), user, "6"], cwd=ROOT) for user in users]
    assert [process.wait(120) for process in started] == [0] * 8
    read = list(log)
    assert Counter(found.user for found in read) == dict.fromkeys(users, 6)
    for user in users:
        assert [found.note for found in read if found.user == user] == [str(index) for index in range(6)]
    assert [found.id for found in read] == list(range(1, 49))
    assert len(log.latest()) == 6 == len(list((log.folder / "photos").iterdir()))


def test_eight_threads_of_one_log_lose_nothing(log: JudgementLog) -> None:
    def write(number: int) -> int:
        image = photo(number % 5)
        return log.append(judged(image, Finding.redrawn, note=str(number)), image, square(left=number))

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(write, range(40)))
    assert sorted(numbers) == list(range(1, 41))
    assert {int(found.note) for found in log} == set(range(40))


def test_what_makes_no_sense_is_refused_and_nothing_is_written(log: JudgementLog) -> None:
    image = photo()
    good = judged(image)
    wrong = [
        (replace(good, image_hash="0" * 64), image, None, "hash is another one"),
        (replace(good, image_hash="../x"), image, None, "64 hex digits"),
        (replace(good, time="yesterday"), image, None, "in UTC"),
        (replace(good, score=float("nan")), image, None, "score=nan"),
        (replace(good, verdict="unreadable"), image, None, "verdict='unreadable'"),
        (replace(good, note="x" * 3000), image, None, "note has 3000 characters"),
        (replace(good, user="\ud800"), image, None, "half of a character"),
        (replace(good, regions=(replace(region(), box=(5, 5, 5, 9)),)), image, None, "No region"),
        (good, image, square(size=(41, 60)), "The mask is 60 × 41 pixels, the photo 60 × 40"),
        (good, image, square().astype(np.uint8), "bool"),
        (replace(good, finding=Finding.redrawn), image, None, "Nothing is drawn"),
        (replace(good, finding=Finding.redrawn), image, np.zeros((40, 60), bool), "Nothing is drawn"),
        (replace(good, finding=Finding.fine), image, square(), "leave the mask out"),
        (replace(good, image_hash=hash_photo(b"text")), b"text", None, "no known image format"),
        (replace(good, image_hash=hash_photo(image[:-40])), image[:-40], None, "does not decode"),
        (replace(good, image_hash=hash_photo(b"")), b"", None, "zero bytes"),
    ]
    for judgement, content, mask, message in wrong:
        with pytest.raises(UserError, match=message):
            log.append(judgement, content, mask)
    assert not log.folder.exists()


def test_a_photo_is_taken_from_a_file_and_its_mask_is_in_the_displayed_frame(log: JudgementLog, tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(path, exif=turned)
    mask = square(left=4, top=30, size=(60, 40))
    log.append(judged(path.read_bytes(), Finding.redrawn), path, mask)
    assert np.array_equal(log.mask(hash_photo(path.read_bytes())), mask)
    with pytest.raises(UserError, match="the photo 40 × 60"):
        log.append(judged(path.read_bytes(), Finding.redrawn), path, square())


def test_a_file_that_is_no_whole_log_of_this_version_is_told(log: JudgementLog, tmp_path: Path) -> None:
    image = photo()
    log.append(judged(image), image, square())
    whole = log.path.read_bytes()

    def damaged(content: bytes) -> Path:
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "judgements.sqlite").write_bytes(content)
        return folder

    for content in (whole[:5000], b"no database" * 400):
        with pytest.raises(UserError, match="Not a whole log"):
            list(JudgementLog(damaged(content)))
    with pytest.raises(UserError, match="Not a whole log"):
        JudgementLog(damaged(b"no database" * 400)).append(judged(image), image)
    assert list(JudgementLog(damaged(b""))) == []  # nothing was in it yet
    assert JudgementLog(damaged(b"")).append(judged(image), image) == 1

    alien = damaged(b"")
    with closing(sqlite3.connect(alien / "judgements.sqlite")) as database:
        database.execute("CREATE TABLE t (x)")
    with pytest.raises(UserError, match="another program"):
        JudgementLog(alien)
    newer = damaged(whole)
    with closing(sqlite3.connect(newer / "judgements.sqlite")) as database:
        database.execute("PRAGMA user_version = 7")
    with pytest.raises(UserError, match=r"newer version of EIAD \(7\)"):
        JudgementLog(newer)


def test_a_row_that_somebody_else_put_there_names_no_file_outside(log: JudgementLog) -> None:
    image = photo()
    log.append(judged(image), image, square())
    with closing(sqlite3.connect(log.path)) as database, database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(judgements)")]
        row = dict(zip(columns, database.execute("SELECT * FROM judgements").fetchone(), strict=True))
        row |= {"id": 2, "suffix": "/../../../x"}
        database.execute(f"INSERT INTO judgements VALUES ({', '.join('?' * len(columns))})", list(row.values()))
    with pytest.raises(UserError, match=r"Judgement 2 in .* is damaged"):
        list(log)
    with pytest.raises(UserError, match="is damaged"):
        log.image_path(hash_photo(image))


def test_a_file_that_is_gone_is_named(log: JudgementLog) -> None:
    image = photo()
    log.append(judged(image), image, square())
    shutil.rmtree(log.folder / "masks")
    log.image_path(hash_photo(image)).unlink()
    with pytest.raises(UserError, match="Missing file of the log"):
        log.mask(hash_photo(image))
    with pytest.raises(UserError, match="Missing file of the log"):
        log.image_path(hash_photo(image))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
def test_every_kind_of_photo_keeps_its_bytes(log: JudgementLog, suffix: str) -> None:
    image = cv2.imencode(suffix, np.full((20, 30, 3), 80, np.uint8))[1].tobytes()
    log.append(judged(image, Finding.fine), image)
    assert log.image_path(hash_photo(image)).name == f"{hash_photo(image)}{suffix}"
    assert log.image_path(hash_photo(image)).read_bytes() == image


def test_a_file_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(photo())
    with pytest.raises(UserError, match=r"a\.png is a file, and a log of judgements is a folder"):
        JudgementLog(tmp_path / "a.png")


def test_a_log_that_may_only_be_read_tells_what_is_not_merged_yet(
    log: JudgementLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        log.append(judged(photo(seed)), photo(seed), square())
    with closing(sqlite3.connect(log.path)) as other:  # as long as somebody is connected, SQLite merges nothing
        other.execute("SELECT COUNT(*) FROM judgements").fetchone()
        for seed in range(3, 6):
            log.append(judged(photo(seed)), photo(seed), square())
        assert log.path.with_name("judgements.sqlite-wal").stat().st_size > 0
        monkeypatch.setattr("os.access", lambda *_: False)
        assert not log.is_writable and len(log) == 6


def test_it_is_told_whether_a_log_can_be_written_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = JudgementLog(tmp_path / "far" / "away")
    assert new.is_writable and not (tmp_path / "far").exists()
    monkeypatch.setattr("os.access", lambda place, _: place != tmp_path)
    assert not new.is_writable
