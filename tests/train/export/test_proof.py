import math
from pathlib import Path

import pytest
import torch

from data.errors import UserError
from data.files import read_json
from train.export import proof
from train.export.proof import compare, prove, run_fresh, write_proof
from train.export.written import Written

OURS = torch.tensor([[1.0, -20.0], [3.0, 4.0]])


def test_the_largest_difference_decides() -> None:
    theirs = OURS.clone()
    theirs[0, 1] += 0.015
    row = compare("eddm", "logits", OURS, theirs, 1e-3)
    assert (
        row.passed and row.largest_difference == pytest.approx(0.015, rel=1e-3) and row.allowed == pytest.approx(0.02)
    )
    assert not compare("eddm", "logits", OURS, theirs, 1e-4).passed
    assert "same" in row.to_line() and "1.50e-02" in row.to_line()


@pytest.mark.parametrize("theirs", [None, OURS[:1], OURS * math.nan, OURS * math.inf])
def test_what_cannot_be_compared_never_passes(theirs: torch.Tensor | None) -> None:
    assert not compare("eddm", "logits", OURS, theirs, 1e9).passed


def test_the_tolerance_follows_the_number_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "run_fresh", lambda written: {"logits": OURS + 0.1})
    for dtype, passed in ((torch.float32, False), (torch.float16, True), (torch.bfloat16, True)):
        written = Written(kind="eddm", folder=Path(), reference={"logits": OURS, "more": OURS}, dtype=dtype)
        assert [row.passed for row in prove(written, None)] == [passed, False]
    assert prove(written, 1e-3)[0].passed is False


def test_nothing_compared_is_nothing_proven(tmp_path: Path) -> None:
    write_proof(tmp_path / "proof.json", [])
    assert read_json(tmp_path / "proof.json")["passed"] is False


@pytest.mark.slow
def test_the_fresh_process_reports_its_error(tmp_path: Path) -> None:
    written = Written(kind="mdlm", folder=tmp_path, reference={}, dtype=torch.float32)
    with pytest.raises(UserError, match=r"mdlm does not load in a fresh process \(exit code 1\): .*No export at"):
        run_fresh(written)
