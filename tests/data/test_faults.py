from pathlib import Path

import pytest

from data.errors import UserError
from data.faults import Fault, collect_faults, report, reporting


def test_a_fault_stops_when_nobody_collects() -> None:
    with pytest.raises(UserError, match="no mask"):
        report("missing-mask", Path("a"), "no mask")
    with pytest.raises(UserError, match="bad file"), reporting("unreadable-annotation", Path("a")):
        raise UserError("bad file")


def test_collected_faults_do_not_stop_and_keep_their_order() -> None:
    with collect_faults() as faults:
        report("missing-mask", Path("a"), "first")
        with reporting("unreadable-annotation", Path("b")):
            raise UserError("second")
    assert faults == [Fault("missing-mask", Path("a"), "first"), Fault("unreadable-annotation", Path("b"), "second")]
    with pytest.raises(UserError):
        report("missing-mask", Path("a"), "after the block")


def test_programming_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), collect_faults(), reporting("x", Path("a")):
        1 / 0  # noqa: B018
