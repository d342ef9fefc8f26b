"""Whatever a command writes to, it writes alone: a second process is told who the first is, before any work."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.processes.lock import held
from tests.conftest import WriteMVTec  # type: ignore[import-not-found]
from tests.eval.mmad.mmad_tree import write_mmad  # type: ignore[import-not-found]
from tests.scripts.conftest import RunCommand  # type: ignore[import-not-found]

DATA = ("dataset=mvtec_ad", "data_root={data}")
CLASSES = "classes=data/classes/template.yaml"


@pytest.mark.parametrize(
    ("place", "command", "arguments"),
    [
        ("run", "run_all", ["run_dir={run}"]),
        ("run/data", "make_synthetic", ["run_dir={run}"]),
        ("run/ddqa", "build_ddqa", ["run_dir={run}", "part=zero_shot"]),
        ("out", "build_ddqa", ["sources=[mvtec_ad]", "paths.mvtec_ad={data}", "out={out}"]),
        ("out", "build_ac", ["dataset=mvtec_ac", "source={data}", "out={out}"]),
        ("run/eddm/base.parts/vision", "train_tiny_base", ["run_dir={run}", "part=vision"]),
        ("run/eddm/base", "train_tiny_base", ["run_dir={run}", "part=eddm"]),
        ("run/mdlm/base", "train_tiny_base", ["run_dir={run}", "part=mdlm"]),
        ("run/eddm", "train_eddm", ["run_dir={run}", "preset=tiny"]),
        ("run/mdlm/fixed", "train_mdlm", ["run_dir={run}", "preset=tiny", "description=fixed"]),
        ("run/descriptions/images.jsonl", "describe", ["run={run}", "folder={images}"]),
        ("run/eval/eddm.json", "eval_eddm", ["run={run}"]),
        ("out", "eval_segmentation", [*DATA, "maps={maps}", "out={out}"]),
        ("out", "eval_expert", [*DATA, "expert=oracle", "out={out}"]),
        ("out", "fit_expert", [*DATA, "out={out}"]),
        ("out/expert", "eval_classification", [*DATA, CLASSES, "expert=patchcore", "mllm=m", "out={out}"]),
        ("out", "eval_classification", [*DATA, CLASSES, "expert=oracle", "mllm=m", "out={out}"]),
        ("out", "eval_mmad", ["data_root={mmad}", "answers={maps}/answers.jsonl", "out={out}"]),
        ("maps/answers.jsonl", "eval_mmad", ["data_root={mmad}", "mllm=m", "answers={maps}/answers.jsonl"]),
        ("out", "export_maps", [*DATA, "model=WinClip", "out={out}"]),
        ("out", "export_adapter", ["run={run}", "merge=false", "out={out}"]),
        ("out", "inspect", ["run={run}", "images={images}", "out={out}"]),
        ("out", "fit_expert", ["images={images}", "out={out}"]),
        ("run/report.html", "report", ["run={run}"]),
        ("out/eiad.1.html", "reproduce", ["table=eiad.1", "data_root={data}", "out={out}"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_second_writer_is_refused(
    place: str,
    command: str,
    arguments: list[str],
    tmp_path: Path,
    write_mvtec: WriteMVTec,
    run_command: RunCommand,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = write_mvtec("data")
    write_mmad(tmp_path / "mmad")
    for folder in ("run", "images", "maps"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "0.png"), np.zeros((32, 32, 3), np.uint8))
    for image in (data / "washer" / "test").rglob("*.png"):
        path = (tmp_path / "maps" / image.relative_to(data)).with_suffix(".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.zeros((48, 64), np.float32))
    names = {name: tmp_path / name for name in ("run", "data", "images", "maps", "mmad", "out")}
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    with held(tmp_path / place), pytest.raises(SystemExit) as ended:
        run_command(command, *(word.format(**names) for word in arguments))
    assert ended.value.code == 2
    assert f"{tmp_path / place} is in use by process " in capsys.readouterr().err
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
