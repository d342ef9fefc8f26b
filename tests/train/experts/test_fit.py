import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.files import write_json
from eval.classification.config import ClassificationConfig
from eval.classification.names import Names
from eval.segmentation.expert import EvalExpertConfig, evaluate_expert, fitted_ids
from models.experts.expert import Gate
from models.experts.gate import GateConfig, GateMethod
from models.experts.load import ExpertName
from models.experts.patchcore import PatchCoreConfig
from models.experts.store import read_gates
from train.experts.fit import FitExpertConfig, fit_expert, fit_missing_expert
from train.experts.fitting import prepare_fitting

CATEGORIES = ("nut", "ring")


@pytest.fixture
def root(write_mvtec: Callable[..., Path]) -> Path:
    return write_mvtec(categories=CATEGORIES, normals=6, defects=4)


def fit_config(root: Path, out: Path, patchcore: PatchCoreConfig | None = None) -> FitExpertConfig:
    return FitExpertConfig(
        expert=ExpertName.patchcore if patchcore else ExpertName.precomputed,
        dataset="mvtec_ad",
        data_root=str(root),
        splits=["train"],
        categories=[],
        train_share=1.0,
        validation_splits=[],
        out=str(out),
        gate=GateConfig(),
        patchcore=patchcore or PatchCoreConfig(),
        seed=0,
    )


def eval_config(root: Path, folder: Path | str, out: Path, expert: ExpertName) -> EvalExpertConfig:
    return EvalExpertConfig(
        expert=expert,
        expert_dir=str(folder),
        dataset="mvtec_ad",
        data_root=str(root),
        splits=["test"],
        categories=[],
        skip_empty_masks=False,
        out=str(out),
        batch_size=3,
        aupro_limit=0.3,
    )


def write_maps(root: Path, folder: Path) -> None:
    """Maps as a detector would give them: the grey value, so the white squares of the defects stand out."""
    for image in sorted(root.rglob("*.png")):
        if "ground_truth" not in image.parts:
            path = (folder / "mvtec_ad" / image.relative_to(root)).with_suffix(".npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, cv2.imread(str(image), cv2.IMREAD_GRAYSCALE).astype(np.float32))


def test_patchcore_from_fit_to_metrics(root: Path, tmp_path: Path, patchcore: PatchCoreConfig) -> None:
    folder = tmp_path / "expert"
    fit_expert(fit_config(root, folder, patchcore))
    assert set(read_gates(folder)) == set(CATEGORIES)
    assert len(fitted_ids(str(folder))) == 12
    config = eval_config(root, folder, tmp_path / "eval", ExpertName.patchcore)
    result = evaluate_expert(config)
    assert json.loads((tmp_path / "eval/expert.json").read_text())["mean"] == result["mean"]
    assert result["mean"]["image_auroc"] > 95
    assert result["mean"]["pixel_auroc"] > 85
    assert result["images"] == {"total": 20, "normal": 12, "anomalous": 8}
    again = evaluate_expert(config)
    assert (again["mean"], again["gate"]) == (result["mean"], result["gate"])
    # the maps it wrote are an expert of their own
    maps = tmp_path / "eval/maps"
    (maps / "gate.json").write_bytes((folder / "gate.json").read_bytes())
    replayed = evaluate_expert(eval_config(root, maps, tmp_path / "again", ExpertName.precomputed))
    assert replayed["mean"]["pixel_auroc"] == pytest.approx(result["mean"]["pixel_auroc"])


def test_what_was_fitted_on_is_left_out(root: Path, tmp_path: Path, patchcore: PatchCoreConfig) -> None:
    config = replace(fit_config(root, tmp_path / "expert", patchcore), splits=["test"], train_share=0.5)
    fit_expert(config)
    result = evaluate_expert(eval_config(root, tmp_path / "expert", tmp_path / "eval", ExpertName.patchcore))
    assert result["images"] == {"total": 14, "normal": 6, "anomalous": 8}
    assert len(result["skipped"]) == 6
    assert all("/good/" in row["id"] and row["reason"] == "fitted on" for row in result["skipped"])


def test_gate_of_precomputed_maps(root: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    write_maps(root, maps)
    fit_expert(fit_config(root, maps))
    result = evaluate_expert(eval_config(root, maps, tmp_path / "eval", ExpertName.precomputed))
    assert result["mean"]["pixel_auroc"] == 100
    assert all(rates["anomalous_passed"] == 0 for rates in result["gate"].values())


def test_f1_max_gate(root: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    write_maps(root, maps)
    config = replace(fit_config(root, maps), gate=GateConfig(method=GateMethod.f1_max), validation_splits=["test"])
    fit_expert(config)
    assert read_gates(maps) == dict.fromkeys(CATEGORIES, Gate(255.0, 255.0))  # the white squares
    assert len(fitted_ids(str(maps))) == 12 + 20


def test_the_oracle_is_perfect(root: Path, tmp_path: Path) -> None:
    result = evaluate_expert(eval_config(root, "", tmp_path / "eval", ExpertName.oracle))
    assert result["sees_truth"]
    assert (result["mean"]["pixel_auroc"], result["mean"]["image_auroc"]) == (100, 100)
    for rates in result["gate"].values():
        assert (rates["normal_passed"], rates["anomalous_passed"]) == (100, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expert": ExpertName.oracle}, "nothing to fit"),
        ({"train_share": 0.0}, "train_share must be above 0"),
        ({"validation_splits": ["test"]}, "takes no validation_splits"),
        ({"gate": GateConfig(method=GateMethod.f1_max)}, "needs validation_splits"),
        ({"gate": GateConfig(method=GateMethod.f1_max), "validation_splits": ["train"]}, "The same image in splits"),
        ({"splits": ["none"]}, "No samples"),
    ],
)
def test_bad_choices(root: Path, tmp_path: Path, changes: dict, message: str) -> None:
    write_maps(root, tmp_path / "maps")
    with pytest.raises(UserError, match=message):
        fit_expert(replace(fit_config(root, tmp_path / "maps"), **changes))
    assert not (tmp_path / "maps/expert.json").exists()


def test_one_normal_image_is_too_few(write_mvtec, tmp_path: Path, patchcore: PatchCoreConfig) -> None:
    root = write_mvtec(categories=("nut",), normals=1)
    with pytest.raises(UserError, match="Only 1 normal image of 'nut'"):
        fit_expert(fit_config(root, tmp_path / "expert", patchcore))


def test_a_category_that_was_not_fitted(root: Path, tmp_path: Path, patchcore: PatchCoreConfig) -> None:
    fit_expert(replace(fit_config(root, tmp_path / "expert", patchcore), categories=["nut"]))
    with pytest.raises(UserError, match="no fitted memory for ring; it has nut"):
        evaluate_expert(eval_config(root, tmp_path / "expert", tmp_path / "eval", ExpertName.patchcore))


def classification_config(root: Path, folder: Path, described: Sequence[str]) -> ClassificationConfig:
    """VELM's pipeline with PatchCore on a dataset whose described categories have one class, `scratch`."""
    classes = {name: {"normal": "Flat.", "classes": {"scratch": {"description": "A line."}}} for name in described}
    write_json(folder / "classes.yaml", classes)  # JSON is YAML
    return ClassificationConfig(
        dataset="mvtec_ad",
        data_root=str(root),
        classes=str(folder / "classes.yaml"),
        names=Names.normalised,
        out=str(folder / "out"),
        resamples=0,
        seed=0,
        severity_seeds=[0],
        expert="patchcore",
        mllm="m",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "No description of category 'ring'"),
        ({"data_root": "nowhere"}, "No dataset folder at nowhere"),
        ({"classes": "nowhere.yaml"}, "Missing class descriptions: nowhere"),
    ],
)
def test_data_and_classes_are_checked_before_an_expert_is_fitted(
    change: dict[str, str], message: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.experts.fit.fit_expert", lambda config: pytest.fail("fitted"))
    with pytest.raises(UserError, match=message):
        fit_missing_expert(replace(classification_config(root, tmp_path, ["nut"]), **change))


def test_an_expert_that_cannot_be_fitted_is_refused(root: Path, tmp_path: Path) -> None:
    config = replace(fit_config(root, tmp_path / "expert"), expert="oracle")
    with pytest.raises(UserError, match=r"expert=oracle cannot be fitted\. Choose one of: precomputed, patchcore"):
        prepare_fitting(config, tmp_path / "expert")


def test_a_missing_expert_is_fitted_first(
    root: Path, tmp_path: Path, patchcore: PatchCoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[FitExpertConfig] = []

    def fit(config: FitExpertConfig) -> None:
        fitted.append(config)
        fit_expert(replace(config, patchcore=patchcore))

    monkeypatch.setattr("train.experts.fit.fit_expert", fit)
    config = classification_config(root, tmp_path, CATEGORIES)
    fit_missing_expert(config)
    assert set(read_gates(tmp_path / "out" / "expert")) == set(CATEGORIES)
    assert fitted[0].splits == ["train"]
    for unneeded in (config, replace(config, expert_dir="x"), replace(config, expert="oracle")):
        fit_missing_expert(unneeded)
    assert len(fitted) == 1
