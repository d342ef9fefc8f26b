"""VELM's tables from files of predictions in the published form, and from results of our own."""

import json
from pathlib import Path

import pytest

from eval.classification.evaluate import ClassificationConfig, run_classification
from eval.classification.names import Names
from eval.mmad.prompt import WordingConfig
from eval.tables.config import ReproduceConfig
from eval.tables.reproduce import reproduce
from eval.tables.velm import published_scores

CATEGORIES = sorted(set(published_scores("mvtec_ac")) - {"mean"})


def make_config(folder: Path, table: str, **changes: object) -> ReproduceConfig:
    return ReproduceConfig(
        table=table,
        out=str(folder / "out"),
        wording=WordingConfig(name="w", question="{question}\n{options}"),
        **changes,  # type: ignore[arg-type]
    )


def write_predictions(folder: Path, categories: list[str] = CATEGORIES) -> Path:
    """Of each category one normal image and two anomalous ones, one of them named wrongly."""
    folder.mkdir()
    classes = {name: {"normal": ["n"], "bent": ["bent", "b"], "cut": ["cut", "c"]} for name in categories}
    replies = {
        f"{name}_{key}": reply
        for name in categories
        for key, reply in (("good_000", "good"), ("bent_000", "bent"), ("cut_000", "bent"))
    }
    (folder / "mvtec_ac_des.json").write_text(json.dumps(classes))
    (folder / "mvtec_ac_preds_gpt_4o.json").write_text(json.dumps(replies))
    return folder


def lines(folder: Path, table: str) -> dict:
    return json.loads((folder / "out" / f"{table}.json").read_text())["lines"]


def test_published_predictions_fill_their_rows(tmp_path: Path) -> None:
    velm = write_predictions(tmp_path / "velm")
    text = reproduce(make_config(tmp_path, "velm.2", paths={"velm": str(velm)}))
    found = lines(tmp_path, "velm.2")
    third = pytest.approx(200 / 3)
    assert found["ddad_gpt_4o.bottle"]["cells"]["accuracy"]["ours"] == third
    assert found["ddad_gpt_4o.mean"]["cells"]["accuracy"] == {
        "ours": third,
        "paper": 84.0,
        "difference": pytest.approx(200 / 3 - 84),
    }
    assert "names=published" in found["ddad_gpt_4o.mean"]["ours"]["definition"]
    assert found["oracle_gpt_4o.bottle"]["cells"]["accuracy"] == {"ours": None, "paper": 85.5, "difference": None}
    missing = found["patchcore_gpt_4o.mean"]["missing"]
    assert "expert=patchcore mllm=gpt-4o chat.backend=api" in missing and "scripts.build_ac" in missing
    assert "expert=ddad mllm=gpt-4o-mini" in found["ddad_gpt_4o_mini.mean"]["missing"]
    assert "Misprint: DDAD + GPT-4o, cable, Macro-F1: printed 79.9" in text


def test_a_mean_over_other_categories_is_not_compared(tmp_path: Path) -> None:
    velm = write_predictions(tmp_path / "velm", CATEGORIES[1:])
    reproduce(make_config(tmp_path, "velm.2", paths={"velm": str(velm)}))
    mean = lines(tmp_path, "velm.2")["ddad_gpt_4o.mean"]
    assert mean["cells"]["accuracy"]["ours"] is None
    assert "no figures of bottle, so the mean is not compared" in mean["missing"]


def test_anomaly_or_defect_in_both_readings(tmp_path: Path) -> None:
    velm = write_predictions(tmp_path / "velm")
    reproduce(make_config(tmp_path, "velm.4", paths={"velm": str(velm)}))
    found = lines(tmp_path, "velm.4")
    assert found["ddad_gpt_4o.bottle"]["cells"]["normal"]["ours"] == 100
    other = found["VELM, mean, 30 % of the classes negligible"]
    assert other["cells"]["total"]["paper"] is None and other["cells"]["total"]["ours"] is not None


def test_results_of_our_own_fill_any_configuration_and_part(tmp_path: Path) -> None:
    velm = write_predictions(tmp_path / "velm")
    run_classification(
        ClassificationConfig(
            predictions=str(velm / "mvtec_ac_preds_gpt_4o.json"),
            classes=str(velm / "mvtec_ac_des.json"),
            dataset="mvtec_ac",
            names=Names.normalised,
            out=str(tmp_path / "mine" / "mvtec_ac"),
            resamples=0,
            seed=0,
            severity_seeds=[0],
        )
    )
    mine = {"oracle_gpt_4o": str(tmp_path / "mine"), "no_visual_prompt": str(tmp_path / "mine"), "eddm": "nowhere"}
    reproduce(make_config(tmp_path, "velm.2", classified=mine))
    found = lines(tmp_path, "velm.2")
    assert found["oracle_gpt_4o.zipper"]["cells"]["macro_f1"]["ours"] is not None
    assert "names=normalised" in found["oracle_gpt_4o.mean"]["ours"]["definition"]
    assert "No results at nowhere/mvtec_ac/results.json" in found["eddm.mean"]["missing"]
    assert "Dataset velm is missing" in found["ddad_gpt_4o.mean"]["missing"]
    assert not any(name.startswith("no_visual_prompt") for name in found)
    reproduce(make_config(tmp_path, "velm.5", classified=mine))
    row = lines(tmp_path, "velm.5")["ddad_gpt_4o.mean"]
    assert row["cells"]["no_visual_prompt"]["difference"] == pytest.approx(200 / 3 - 82.6)
    assert row["cells"]["full"]["ours"] is None and "prompt.strategy=false" in row["missing"]


def test_a_row_takes_results_of_its_own_expert_and_model_alone(tmp_path: Path) -> None:
    velm = write_predictions(tmp_path / "velm")
    reproduce(make_config(tmp_path, "velm.2", paths={"velm": str(velm)}))
    path = tmp_path / "mine" / "mvtec_ac" / "results.json"
    settings = ClassificationConfig(
        predictions=str(velm / "mvtec_ac_preds_gpt_4o.json"),
        classes=str(velm / "mvtec_ac_des.json"),
        dataset="mvtec_ac",
        names=Names.normalised,
        out=str(path.parent),
        resamples=0,
        seed=0,
        severity_seeds=[0],
    )
    run_classification(settings)
    results, mine = json.loads(path.read_text()), str(tmp_path / "mine")

    def row(expert: str, mllm: str, name: str) -> dict:
        path.write_text(json.dumps(results | {"pipeline": {"expert": expert, "mllm": mllm}}))
        reproduce(make_config(tmp_path, "velm.2", classified={name: mine}))
        return lines(tmp_path, "velm.2")[f"{name}.mean"]

    for mllm in ("gpt-4o", "gpt-4o-2024-08-06"):
        found = row("patchcore", mllm, "patchcore_gpt_4o")
        assert found["cells"]["accuracy"]["difference"] is not None
        assert f"expert patchcore, model {mllm}" in found["ours"]["definition"]
    for expert, mllm in (("oracle", "gpt-4o"), ("patchcore", "gpt-4o-mini"), ("patchcore", "tiny")):
        found = row(expert, mllm, "patchcore_gpt_4o")
        assert found["missing"].startswith("missing results of patchcore and gpt-4o") and mllm in found["missing"]
        assert found["cells"]["accuracy"]["ours"] is None
    assert row("patchcore", "tiny", "patchcore_tiny")["cells"]["accuracy"]["ours"] is not None


def test_what_is_no_result_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "mvtec_ac").mkdir()
    (tmp_path / "mvtec_ac" / "results.json").write_text("{}")
    reproduce(make_config(tmp_path, "velm.2", classified={"oracle_gpt_4o": str(tmp_path)}))
    assert "Not results of scripts.eval_classification" in lines(tmp_path, "velm.2")["oracle_gpt_4o.mean"]["missing"]


@pytest.mark.parametrize("table", ["velm.1", "velm.2", "velm.3", "velm.4", "velm.5"])
def test_the_papers_own_figures_but_for_the_misprints(real_data: Path, tmp_path: Path, table: str) -> None:
    from eval.tables.published import load_published

    reproduce(make_config(tmp_path, table, paths={"velm": str(real_data / "velm")}))
    cells = {
        (name, column): cell["difference"]
        for name, line in lines(tmp_path, table).items()
        for column, cell in line["cells"].items()
        if cell["difference"] is not None
    }
    misprinted = {(name, column) for name, values in load_published()[table].misprints.items() for column in values}
    assert len(cells) >= (3 if table == "velm.1" else 13)
    assert {cell for cell, difference in cells.items() if abs(difference) > 0.06} <= misprinted
