"""Every table on generated data in the real layouts; the real BSData where it is given."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.ddqa.build import build_ddqa
from data.ddqa.config import DDQAConfig
from data.errors import UserError
from data.files import append_jsonl
from data.sample import load_image
from data.source import Source, load_samples
from eval.mmad.prompt import WordingConfig
from eval.tables.config import ReproduceConfig
from eval.tables.reproduce import TABLES, reproduce
from tests.data.readers.conftest import TREES  # type: ignore[import-not-found]
from tests.eval.mmad.mmad_tree import write_mmad  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parents[3]
DATASETS = {"eiad.4": "mvtec_ad", "eiad.5": "visa", "eiad.6": "mvtec_3d"}


def make_config(folder: Path, table: str, **changes: object) -> ReproduceConfig:
    values: dict[str, object] = {
        "table": table,
        "data_root": str(folder / "data"),
        "out": str(folder / "out"),
        "wording": WordingConfig(name="w", question="{question}\n{options}"),
    }
    return ReproduceConfig(**{**values, **changes})  # type: ignore[arg-type]


def write_tree(folder: Path, name: str) -> Path:
    root = folder / "data" / name
    root.mkdir(parents=True)
    TREES[name](root)
    return root


def write_maps(root: Path, dataset: str, maps: Path) -> None:
    """A map that marks the defect of each test image, with noise."""
    rng = np.random.default_rng(0)
    for sample in load_samples([Source(reader=dataset, root=str(root), splits=["test"])]).samples:
        target = (maps / dataset / sample.image.relative_to(root)).with_suffix(".npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, rng.random(load_image(sample.image).shape[:2], np.float32))


def line(folder: Path, table: str, row: str) -> dict:
    return json.loads((folder / "out" / f"{table}.json").read_text())["lines"][row]


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No table 'eiad\.9'.*velm\.5, or all"):
        reproduce(make_config(tmp_path, "eiad.9"))


def test_a_dataset_folder_is_found_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "data" / "MMAD").mkdir(parents=True)
    assert make_config(tmp_path, "eiad.3").root("mmad") == tmp_path / "data" / "MMAD"


def test_with_nothing_every_table_says_what_is_missing(tmp_path: Path) -> None:
    text = reproduce(make_config(tmp_path, "all"))
    for part in ("Dataset mvtec_ad is missing", "Dataset mmad is missing", "git clone https://github.com/2Obe/BSData"):
        assert part in text
    assert "– | 87.8 | –" in text and "– | 1104 | –" in text
    page = (tmp_path / "out" / "all.html").read_text()
    assert all(f'id="{key}"' in page for key in TABLES)
    assert "0 of" in page and "SAA+" in page


def tell(maps: Path, dataset: str, expert: str, **changes: object) -> None:
    """What scripts.export_maps writes beside the maps."""
    used = {"file": "clip.pt", "sha256": "8fb26589" + "0" * 56, "checkpoint": "clip-x", "published": True} | changes
    told = {"expert": expert, "identity": "i", "setting": "In this manner.", "shots": 0, "weights": [used]}
    (maps / dataset / "maps.json").write_text(json.dumps(told))


@pytest.mark.parametrize("table", DATASETS)
def test_maps_of_a_method_fill_its_row(table: str, tmp_path: Path) -> None:
    dataset = DATASETS[table]
    write_maps(write_tree(tmp_path, dataset), dataset, tmp_path / "maps")
    tell(tmp_path / "maps", dataset, "winclip")
    text = reproduce(
        make_config(tmp_path, table, maps={"winclip": str(tmp_path / "maps"), "mine": str(tmp_path / "maps")})
    )
    ours, eiad = line(tmp_path, table, "winclip"), line(tmp_path, table, "eiad")
    assert ours["ours"]["weights"] == "clip-x: clip.pt (SHA-256 8fb2658900000000)"
    assert ours["ours"]["shots"] == "0" and ours["ours"]["definition"].endswith("; In this manner.")
    assert "WinCLIP, ours: 0-shot; resolution: native; convention: ours; weights: clip-x" in text
    assert 0 < ours["cells"]["pixel_auroc"]["ours"] < 100
    assert ours["cells"]["pixel_auroc"]["difference"] is not None
    assert ours["ours"]["resolution"] == "native" and "exact engine" in ours["ours"]["definition"]
    assert "Trained weights are missing" in eiad["missing"] and eiad["cells"]["pixel_auroc"]["ours"] is None
    assert line(tmp_path, table, "mine")["cells"]["pixel_ap"]["paper"] is None
    (pair,) = json.loads((tmp_path / "out" / f"{table}.json").read_text())["pairs"]
    assert (pair["left"], pair["missing"]) == ("mine", "")
    assert set(pair["gains"]["pixel_auroc"].values()) == {0, "not distinguishable"}  # the same maps
    assert f"mine minus {pair['right']}, both measured here, with intervals over images: " in text
    assert "both measured here" in (tmp_path / "out" / f"{table}.html").read_text()


def test_no_row_of_a_method_is_filled_from_weights_that_are_not_the_published_ones(tmp_path: Path) -> None:
    dataset, maps = "mvtec_ad", tmp_path / "maps"
    root = write_tree(tmp_path, dataset)
    write_maps(root, dataset, maps)
    given = {"winclip": str(maps), "anoclip": str(maps)}

    def missing(row: str) -> str:
        reproduce(make_config(tmp_path, "eiad.4", maps=given))
        found = line(tmp_path, "eiad.4", row)
        assert found["ours"] == {} and all(cell["ours"] is None for cell in found["cells"].values())
        return str(found["missing"])

    assert missing("winclip").startswith("missing the checkpoints' hashes")  # maps of whatever program
    tell(maps, dataset, "winclip", published=False)
    told = missing("winclip")
    assert told.startswith("missing published weights: clip.pt (SHA-256 8fb26589") and "+maps.mine=" in told
    assert "scripts.export_maps expert=anoclip" in missing("anoclip")  # another expert's


def test_a_method_that_did_not_run_names_the_file_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.weights.hub.constants.HF_HUB_CACHE", str(tmp_path))
    text = reproduce(make_config(tmp_path, "eiad.4"))
    for row, file in {
        "winclip": "open_clip_model.safetensors of timm/vit_base_patch16_plus_clip_240.laion400m_e31",
        "anoclip": "open_clip_model.safetensors of timm/",
        "clip_surgery": "open_clip_model.safetensors of timm/",
        "saa_plus": "IDEA-Research/grounding-dino-tiny",
    }.items():
        told = line(tmp_path, "eiad.4", row)["missing"]
        assert told.startswith(f"missing {file}") and "Dataset mvtec_ad is missing" in told
        assert f"python -m scripts.export_maps expert={row} dataset=mvtec_ad data_root=DATA/mvtec_ad" in told
        assert f"+maps.{row}=DIR" in told
    assert "WinCLIP: not run: missing open_clip_model.safetensors" in text
    assert "checkpoints/sam_vit_h_4b8939.pth" in line(tmp_path, "eiad.4", "saa_plus")["missing"]
    anchor = line(tmp_path, "eiad.4", "anomalyvfm")
    assert anchor["cells"]["pixel_auroc"]["paper"] == 91.9 and "AUPRO 87.1" in anchor["paper"]["definition"]


def test_ddqa_counts_of_a_source(tmp_path: Path) -> None:
    write_tree(tmp_path, "bsdata")
    reproduce(make_config(tmp_path, "eiad.1"))
    cells = line(tmp_path, "eiad.1", "bsdata")["cells"]
    assert cells["AD"] == {"ours": 2, "paper": 1104, "difference": -1102}
    assert cells["DFM"]["ours"] == 1
    assert "Dataset vision is missing" in line(tmp_path, "eiad.1", "vision")["missing"]
    assert line(tmp_path, "eiad.1", "total")["cells"]["AD"] == {"ours": 2, "paper": 1104, "difference": -1102}


def test_ddqa_is_built_once_from_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, built = write_tree(tmp_path, "bsdata"), []

    def build(settings: DDQAConfig) -> None:
        built.append(settings)
        build_ddqa(settings)

    monkeypatch.setattr("eval.tables.ddqa.build_ddqa", build)
    (tmp_path / "run").mkdir()
    for table in ("eiad.1", "eiad.2", "eiad.1"):
        reproduce(make_config(tmp_path, table, run=str(tmp_path / "run")))
    assert [settings.workers for settings in built] == [os.cpu_count()]
    image = next(sample.image for sample in load_samples([Source(reader="bsdata", root=str(root))]).samples)
    image.write_bytes(cv2.imencode(image.suffix, 255 - cv2.imread(str(image)))[1].tobytes())
    reproduce(make_config(tmp_path, "eiad.1"))
    assert len(built) == 2


def test_a_run_without_a_model_is_named(tmp_path: Path) -> None:
    for name in ("mvtec_ad", "visa"):
        write_tree(tmp_path, name)
    (tmp_path / "run").mkdir()
    text = reproduce(make_config(tmp_path, "eiad.7", run=str(tmp_path / "run")))
    assert "No trained EDDM" in text and "No trained MDLM" in text
    reproduce(make_config(tmp_path, "eiad.2", run=str(tmp_path / "run")))
    assert "Dataset bsdata is missing" in line(tmp_path, "eiad.2", "ddqa")["missing"]


def test_ddqa_difficulty_asks_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Says:
        def chat(self, requests: list) -> list[str]:
            return ["B"] * len(requests)

    class Base:
        chat, model, adapter = Says(), "base", ""

    used = []
    write_tree(tmp_path, "bsdata")
    (tmp_path / "run").mkdir()
    monkeypatch.setattr("eval.tables.ddqa.load_eddm", lambda run, **how: used.append(how["use_adapter"]) or Base())
    reproduce(make_config(tmp_path, "eiad.2", run=str(tmp_path / "run")))
    row = line(tmp_path, "eiad.2", "ddqa")
    assert used == [False]
    assert row["cells"]["AD"] == {"ours": 50.0, "paper": 65.1, "difference": pytest.approx(-15.1)}
    assert row["ours"]["weights"] == "base" and "questions of bsdata" in row["ours"]["definition"]
    assert "Partial, without pd_real" in row["missing"]


def test_mmad_answers_of_a_model(tmp_path: Path) -> None:
    entries = write_mmad(tmp_path / "data" / "mmad")
    rows = [
        {"image": key, "question": one["Question"], "type": one["type"], "answer": one["Answer"], "reply": "A"}
        | {"choice": "A"}
        for key, entry in entries.items()
        for one in entry["conversation"]
    ]
    append_jsonl(tmp_path / "answers.jsonl", rows)
    answers = {"gpt_4o": str(tmp_path / "answers.jsonl")}
    reproduce(make_config(tmp_path, "eiad.3", answers=answers, mode="generate"))
    found = line(tmp_path, "eiad.3", "gpt_4o")
    assert found["cells"]["defect_description"]["ours"] == 100, found["missing"]  # A is right, and not elsewhere
    assert found["cells"]["defect_analysis"]["ours"] == 0
    assert "generate" in found["ours"]["definition"]
    assert "scripts.eval_mmad" in line(tmp_path, "eiad.3", "sphinx")["missing"]
    reproduce(make_config(tmp_path, "eiad.3", answers=answers, mode="nothing"))
    assert "Unknown mode" in line(tmp_path, "eiad.3", "gpt_4o")["missing"]


def test_the_command_exits_with_2_for_an_unknown_table(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.reproduce", "table=eiad.9", f"out={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=500)
    assert done.returncode == 2 and "No table 'eiad.9'" in done.stderr


def test_the_bsdata_column_is_the_papers(real_data: Path, tmp_path: Path) -> None:
    reproduce(make_config(tmp_path, "eiad.1", data_root=str(real_data / "datasets")))
    assert all(cell["difference"] == 0 for cell in line(tmp_path, "eiad.1", "bsdata")["cells"].values())
