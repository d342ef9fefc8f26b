"""No command runs code that comes with weights unless its own command line allows it, whatever files say."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.files import write_jsonl
from data.run import Run
from models.exported import list_files
from models.weights.trust import hash_code
from tests.eval.mmad.mmad_tree import write_mmad  # type: ignore[import-not-found]
from tests.models.weights.marked import write_marked
from tests.scripts.conftest import RunCommand  # type: ignore[import-not-found]

COMMIT = "f" * 40
SWIFT = ("backend=swift", "swift.model_type=minicpmv2_6", "swift.template=minicpmv2_6")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run and an export that claim trust, a base that leaves a marker, an image, MMAD, and a model's questions."""
    place = tmp_path_factory.mktemp("trust")
    base = write_marked(place / "base", place / "ran")
    trained: dict[str, Any] = {"base": str(base), "local": True, "revision": COMMIT, "code": hash_code(base)}
    trained |= {"trust_remote_code": True, "backend": "swift", "defects": [], "use_cpu": True, "attn_impl": "sdpa"}
    trained |= {"model_type": "minicpmv2_6", "template": "minicpmv2_6", "torch_dtype": "float32"}
    run = Run(place / "run")
    (run.eddm / "adapter").mkdir(parents=True)
    (run.eddm / "adapter" / "adapter_model.safetensors").touch()
    settings = {"model": {"trust_remote_code": True}}
    (run.eddm / "config.json").write_text(json.dumps({"fingerprint": "f", "trained": trained, "config": settings}))
    (run.mdlm / "eddm").mkdir(parents=True)
    (place / "images").mkdir()
    cv2.imwrite(str(place / "images" / "0.png"), np.zeros((32, 32, 3), np.uint8))
    question = {"role": "user", "content": "<image>Is there any defect?\nA. Yes.\nB. No.\n"}
    row = {"messages": [question, {"role": "assistant", "content": "B"}], "images": [str(place / "images" / "0.png")]}
    write_jsonl(run.ddqa / "train.jsonl", [row | {"id": "0", "task": "AD", "category": "x", "difficulty": "easy"}])
    write_jsonl(run.ddqa / "zero_shot.jsonl", [row | {"id": "0", "task": "AD", "category": "x", "difficulty": "easy"}])
    write_mmad(place / "mmad")
    model = write_marked(place / "export" / "model", place / "ran")
    export = {"format": 1, "kind": "eddm", "merged": True, "dtype": "float32"}
    export |= {"trained": trained | {"code": hash_code(model)}, "files": list_files(place / "export")}
    (place / "export" / "manifest.json").write_text(json.dumps({"export": export}))
    return place


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train_eddm", ["preset=paper", "model.id={base}", "model.revision=" + COMMIT, "run_dir={new}", "{questions}"]),
        ("describe", ["run={run}", "folder={images}"]),
        ("eval_eddm", ["run={run}"]),
        ("eval_mmad", ["run={run}", "data_root={mmad}", "mode=generate", "out={new}"]),
        ("eval_mmad", ["mllm={base}", "local.revision=" + COMMIT, "data_root={mmad}", "out={new}"]),
        ("eval_mmad", ["mllm={base}", "local.revision=" + COMMIT, "data_root={mmad}", "out={new}", *SWIFT]),
        ("inspect_image", ["run={run}", "image={images}/0.png", "out={new}"]),
        ("export_adapter", ["run={run}", "part=eddm", "merge=false", "out={new}"]),
        ("export_adapter", ["run={run}", "part=eddm", "merge=true", "out={new}"]),
        ("train_mdlm", ["preset=paper", "mdlm.llava.path={base}", "run_dir={new}"]),
        ("doctor", ["weights=paper", "eddm.model.id={base}", "eddm.model.revision=" + COMMIT, "hashes=false"]),
        ("plan", ["preset=paper", "eddm.model.id={base}"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_command_runs_it(
    command: str, arguments: list[str], place: Path, tmp_path: Path, run_command: RunCommand, monkeypatch: Any
) -> None:
    monkeypatch.setenv("EIAD_DATA", str(place))
    names = {name: place / name for name in ("base", "run", "images", "mmad")}
    words = [
        word.format(new=tmp_path / "new", questions=f"questions={place}/run/ddqa/train.jsonl", **names)
        for word in arguments
    ]
    try:
        run_command(command, *words)
    except SystemExit as end:
        assert end.code in (1, 2)
    else:
        assert command == "plan"
    assert not (place / "ran").exists()


@pytest.mark.parametrize("command", ["describe", "eval_eddm", "export_adapter", "train_eddm"])
def test_it_is_the_gate_that_refuses(
    command: str, place: Path, tmp_path: Path, run_command: RunCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {
        "describe": [f"run={place}/run", f"folder={place}/images"],
        "eval_eddm": [f"run={place}/run"],
        "export_adapter": [f"run={place}/run", "part=eddm", f"out={tmp_path}/out"],
        "train_eddm": ["preset=paper", f"model.id={place}/base", f"run_dir={tmp_path}/new"],
    }
    with pytest.raises(SystemExit):
        run_command(command, *arguments[command])
    assert "names code of its own (auto_map in config.json)" in capsys.readouterr().err
