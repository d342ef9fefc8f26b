import json
from pathlib import Path

from data.files import hash_file
from data.run import Run
from train.export.card import hash_data, hide_paths, read_metrics, read_settings, writes_thoughts


def test_no_path_of_this_machine_is_told(run: Run) -> None:
    values = {"a": [f"{run.path}/mdlm/base", "/home/me/data/visa"], "b": {"c": "C:\\data\\bsdata", "d": "a/b", "e": 1}}
    assert hide_paths(values, run.path) == {
        "a": ["RUN/mdlm/base", "…/visa"],
        "b": {"c": "…/bsdata", "d": "a/b", "e": 1},
    }
    for part in ("eddm", "mdlm"):
        settings = read_settings(run, part, "fixed")
        assert settings and "run_dir" not in settings and str(run.path) not in json.dumps(settings)


def test_the_data_are_named_by_their_hashes(run: Run, tmp_path: Path) -> None:
    found = hash_data(run, "eddm", "")
    assert found == {"settings and data": "f" * 64, "questions": hash_file(run.ddqa / "train.jsonl")}
    assert hash_data(run, "mdlm", "fixed") == {"settings and data": "e" * 64}
    other = Run(tmp_path)
    other.eddm.mkdir()
    (other.eddm / "config.json").write_text(json.dumps({"fingerprint": "a", "config": {}}))
    assert hash_data(other, "eddm", "")["questions"] == "the file is no longer in the run"


def test_each_file_of_questions_has_its_hash(run: Run, tmp_path: Path) -> None:
    mine = run.ddqa / "train.jsonl"

    def told(questions: str | list[str]) -> dict[str, str]:
        other = Run(tmp_path)
        other.eddm.mkdir(exist_ok=True)
        config = {"fingerprint": "a", "config": {"questions": questions}}
        (other.eddm / "config.json").write_text(json.dumps(config))
        return hash_data(other, "eddm", "")

    assert told(str(mine))["questions"] == told([str(mine)])["questions"] == hash_file(mine)
    gone = str(tmp_path / "gone.jsonl")
    assert told([str(mine), gone]) == {
        "settings and data": "a",
        "questions, file 1": hash_file(mine),
        "questions, file 2": "the file is no longer in the run",
    }


def test_metrics_come_from_the_results_or_the_evaluations(run: Run, tmp_path: Path) -> None:
    assert read_metrics(run) == {
        "EDDM": {"AD": 71.25},
        "MDLM, with_eddm": {"pixel_auroc": 93.5, "image_auroc": None},
    }
    other = Run(tmp_path)
    assert read_metrics(other) == {}
    other.eval.mkdir()
    (other.eval / "eddm.json").write_text(json.dumps({"AD": 50.0, "counts": {"AD": 4}, "name": "eddm"}))
    (other.eval / "visa.json").write_text(json.dumps({"mean": {"pixel_ap": 1.5}, "threshold": 3}))
    (other.eval / "rows.json").write_text("[]")
    assert read_metrics(other) == {"eddm": {"AD": 50.0}, "visa": {"pixel_ap": 1.5}}


def test_a_chat_format_that_writes_thoughts(tmp_path: Path) -> None:
    assert not writes_thoughts(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer_config.json").write_text('{"chat_template": "{{ question }}"}')
    assert not writes_thoughts(tmp_path)
    (tmp_path / "model" / "chat_template.jinja").write_text("<think>\n\n</think>\n\n")
    assert writes_thoughts(tmp_path)
