from __future__ import annotations

from data.files import append_jsonl, write_json
from data.run import Run
from data.source import Source
from eval.report.facts import describe_data, flatten, read_configs, read_curves, read_stages, read_versions


def test_curves_by_module_and_stage(run: Run) -> None:
    append_jsonl(run.eddm / "log.jsonl", [{"stage": "base", "part": "vision", "step": 1, "loss": 3.0}])
    append_jsonl(run.eddm / "log.jsonl", [{"stage": "lora", "step": 1}, {"stage": "lora", "step": 2, "loss": 1.0}])
    append_jsonl(run.mdlm / "fixed" / "log.jsonl", [{"step": 5, "loss": 0.5}])
    append_jsonl(run.mdlm / "eddm" / "log.jsonl", [{"step": 5, "loss": 0.4}])
    stages = [("language", 1), ("language", 2), ("encoder", 1), ("encoder", 2)]
    append_jsonl(run.mdlm / "base" / "log.jsonl", [{"stage": s, "step": n, "loss": 0.1} for s, n in stages])
    assert read_curves(run) == {
        "EDDM, base": {"vision": ([1], [3.0])},
        "EDDM, adapter": {"lora": ([2], [1.0])},
        "MDLM, base": {"language": ([1, 2], [0.1, 0.1]), "encoder": ([3, 4], [0.1, 0.1])},
        "MDLM, adapter": {"eddm": ([5], [0.4]), "fixed": ([5], [0.5])},
    }


def test_losses_by_name(run: Run) -> None:
    rows = [{"stage": "base", "part": "reading", "step": n, "dense": 2.0, "naming": 1.0, "lr": 0.1} for n in (10, 20)]
    append_jsonl(run.eddm / "log.jsonl", rows)
    assert read_curves(run) == {"EDDM, base": {"dense": ([10, 20], [2.0, 2.0]), "naming": ([10, 20], [1.0, 1.0])}}


def test_stages_from_either_form(run: Run) -> None:
    assert read_stages(run) == []
    write_json(run.path / "stages.json", {"data": {"seconds": 3}})
    assert read_stages(run) == [{"stage": "data", "seconds": 3}]
    write_json(run.path / "stages.json", [{"stage": "data", "seconds": 3}])
    assert read_stages(run) == [{"stage": "data", "seconds": 3}]


def test_configs_are_flat(run: Run) -> None:
    write_json(run.eddm / "config.json", {"lora": {"rank": 8, "more": {"deep": [1, 2]}}})
    configs = read_configs(run)
    assert configs["EDDM"] == {"lora.rank": 8, "lora.more.deep": [1, 2]}
    assert set(configs) == {"EDDM", "MDLM, eddm", "MDLM, fixed"}
    assert flatten({}) == {}


def test_data_says_what_it_is_or_why_not(run: Run) -> None:
    found = describe_data([Source(reader="mvtec_ad", root=str(run.data / "unseen"))])
    assert (found["images"], found["normal"], found["categories"]) == (12, 6, ["tile", "washer"])
    assert "No dataset folder" in describe_data([Source(reader="mvtec_ad", root="/gone")])["missing"]


def test_versions_name_the_code() -> None:
    versions = read_versions()
    assert versions["EIAD code"] and versions["torch"][0].isdigit()
