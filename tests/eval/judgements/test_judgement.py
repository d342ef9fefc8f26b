from datetime import UTC, datetime, timedelta

from eval.judgements.judgement import Finding, now
from tests.eval.judgements.judged import judged, photo


def test_now_is_utc_to_the_second() -> None:
    told = datetime.strptime(now(), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - told) < timedelta(seconds=5)


def test_a_judgement_gets_its_place_in_the_log_and_nothing_else_changes() -> None:
    before = judged(photo(), Finding.fine)
    after = before.placed(3, "abc")
    assert (before.id, before.mask, after.id, after.mask) == (0, "", 3, "abc")
    assert after.placed(0, "") == before
