import json
import math
import sys
from pathlib import Path

import pytest
import torch

from models.tiny.minicpmv import build_tokenizer
from scripts.benchmarks.gpu_check import Check, check_mdlm, main
from scripts.benchmarks.gpu_models import QUESTIONS, make_eddm, make_mdlm


def read_rows(out: Path) -> list[dict]:
    return json.loads((out / "gpu_check.json").read_text())["rows"]


@pytest.mark.slow
def test_every_row_is_measured_at_tiny_size(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    main(["device=cpu", "sizes=tiny", "minutes=5", f"out={tmp_path}"])
    rows = read_rows(tmp_path)
    assert len(rows) == 8
    assert all(row["seconds"] > 0 and row["samples_per_second"] > 0 for row in rows), rows
    assert rows[0]["predicted_gib"] > rows[1]["predicted_gib"] > 0
    assert "language model" in rows[3]["note"]
    assert rows[7]["note"].endswith("image read once")
    table = (tmp_path / "gpu_check.md").read_text()
    assert table.count("\n| ") == 10 and f"torch {torch.__version__}" in table


def test_a_missing_package_and_the_end_of_time_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main(["device=cpu", "minutes=-1", f"out={tmp_path / 'late'}"])
    assert {row["note"] for row in read_rows(tmp_path / "late")} == {"not reached: time is up"}
    for name in [name for name in sys.modules if name.startswith(("models.mdlm", "scripts.benchmarks.gpu_models"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    monkeypatch.setitem(sys.modules, "segment_anything.modeling", None)
    check = Check("cpu", "tiny", tmp_path / "bare", deadline=math.inf)
    check_mdlm(check)
    assert {row["note"] for row in read_rows(tmp_path / "bare")} == {"skipped: no segment_anything.modeling"}


@pytest.mark.parametrize("argument", ["device=tpu", "hours=1", "sizes"])
def test_a_wrong_argument_is_named(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([argument])
    assert "device=" in f"{ended.value}{capsys.readouterr().err}"


def test_a_gpu_that_is_not_there_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="sees no GPU"):
        main(["device=cuda"])


def test_the_full_sizes_are_the_papers() -> None:
    mdlm = make_mdlm("full", "meta")
    assert 7.7e9 < sum(parameter.numel() for parameter in mdlm.parameters()) < 7.8e9
    assert mdlm.sam.image_size == 1024 and mdlm.llava.llava.config.vision_config.image_size == 336
    eddm = make_eddm(build_tokenizer(QUESTIONS, units=[], vocab_size=512), "meta")
    assert 1.1e9 < sum(parameter.numel() for parameter in eddm.parameters()) < 1.5e9
