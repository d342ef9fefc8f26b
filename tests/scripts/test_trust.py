"""No command runs code that comes with weights unless its own command line allows it, whatever files say."""

import importlib
import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from safetensors.torch import save_file
from torch import ones

from data.files import write_json, write_jsonl
from data.run import Run
from models.exported import list_files
from models.mdlm.llava import LlavaConfig
from models.mdlm.model import MDLMConfig
from models.mdlm.sam import SamConfig
from models.weights.trust import hash_code
from scripts.command import CONFIGS
from tests.eval.mmad.mmad_tree import write_mmad  # type: ignore[import-not-found]
from tests.models.weights.marked import write_marked
from tests.scripts.conftest import RunCommand  # type: ignore[import-not-found]

COMMIT = "f" * 40
TRUST = "trust_remote_code=true"
PINNED = ("mllm={base}", "local.revision=" + COMMIT)
SWIFT = ("backend=swift", "swift.model_type=minicpmv2_6", "swift.template=minicpmv2_6")
PARTS = ("dataset=mvtec_ad", "data_root={data}/mvtec_ad", "out={new}")
VELM = ("expert=oracle", "classes={data}/classes.yaml", *PARTS)
CHAT = ("mllm={base}", "chat.local.revision=" + COMMIT)
MDLM = ("expert=mdlm", *PARTS)
SHOWN = (
    "data.train=[{{reader: mvtec_ad, root: '{data}/mvtec_ad'}}]",
    "data.zero_shot=[]",
    "data.unseen=[]",
    "~data.weights",
)
REPRODUCE = ("run={run}", "data_root={data}", "out={new}")
COMMANDS: list[tuple[str, tuple[str, ...]]] = [  # what loads EDDM or another chat model
    ("train_eddm", ("preset=paper", "model.id={base}", "model.revision=" + COMMIT, "run_dir={new}", "{questions}")),
    ("describe", ("run={run}", "folder={images}")),
    ("eval_eddm", ("run={run}",)),
    ("eval_mmad", ("run={run}", "data_root={data}/mmad", "mode=generate", "out={new}")),
    ("eval_mmad", (*PINNED, "data_root={data}/mmad", "out={new}")),
    ("eval_mmad", (*PINNED, "data_root={data}/mmad", "out={new}", *SWIFT)),
    ("eval_classification", (*CHAT, *VELM)),
    ("eval_classification", (*CHAT, *VELM, *(f"chat.{word}" for word in SWIFT))),
    ("eval_classification", ("mllm=eddm", "run={run}", *VELM)),
    ("eval_classification", (*CHAT, *VELM, "expert=mdlm", "expert_dir={data}/expert")),
    ("inspect", ("run={run}", "images={images}/0.png", "out={new}")),
    ("inspect", ("export={data}/export", "images={images}/0.png", "out={new}")),
    ("inspect", ("expert=mdlm", "expert_dir={data}/expert", "images={images}/0.png", "out={new}")),
    ("app", ("run={run}", "port=0", "judgements={new}")),
    ("app", ("export={data}/export", "port=0", "judgements={new}")),
    ("chat", ("run={run}", "image={images}/0.png")),
    ("chat", ("export={data}/export", "image={images}/0.png")),
    ("chat", (*CHAT, "image={images}/0.png")),
    ("chat", (*CHAT, "image={images}/0.png", *(f"chat.{word}" for word in SWIFT))),
    ("calibrate", ("run={run}", "normals={images}", "false_alarms=0.5")),
    ("calibrate", ("export={data}/export", "normals={images}", "false_alarms=0.5")),
    ("calibrate", ("expert=mdlm", "expert_dir={data}/expert", "normals={images}", "false_alarms=0.5")),
    ("fit_expert", (*MDLM, "mdlm.run={run}", "mdlm.description=eddm")),
    ("eval_expert", (*MDLM, "expert_dir={data}/expert")),
    ("export_adapter", ("run={run}", "part=eddm", "merge=false", "out={new}")),
    ("export_adapter", ("run={run}", "part=eddm", "merge=true", "out={new}")),
    ("reproduce", ("table=eiad.2", "mode=generate", *REPRODUCE)),
    ("reproduce", ("table=eiad.3", "mode=likelihood", *REPRODUCE)),
    ("reproduce", ("table=eiad.4", *REPRODUCE)),
    ("doctor", ("weights=paper", "eddm.model.id={base}", "eddm.model.revision=" + COMMIT, "hashes=false")),
]
NATIVE: list[tuple[str, tuple[str, ...]]] = [  # what loads an MDLM, of which no part may bring code
    ("train_mdlm", ("preset=paper", "description=fixed", "mdlm.llava.path={base}", "run_dir={new}", *SHOWN)),
    ("eval_segmentation", ("run={run}", "description=fixed", "zero_shot=false", *PARTS)),
    ("inspect", ("run={run}", "description=fixed", "images={images}/0.png", "out={new}", TRUST)),
    ("inspect", ("export={data}/export", "description=fixed", "images={images}/0.png", "out={new}", TRUST)),
    ("fit_expert", (*MDLM, "mdlm.run={run}", TRUST)),
    ("export_adapter", ("run={run}", "part=mdlm", "description=fixed", "out={new}", TRUST)),
    ("export_adapter", ("run={run}", "part=mdlm", "description=fixed", "merge=true", "out={new}", TRUST)),
    ("reproduce", ("table=eiad.7", *REPRODUCE)),
]


def name_case(value: object) -> str:
    return value if isinstance(value, str) else ""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, an expert and an export that claim trust, bases that leave a marker, and data for every command."""
    return write_place(tmp_path_factory.mktemp("trust"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a base that names no code."""
    place = write_place(tmp_path_factory.mktemp("plain"))
    for folder in ("base", "export/eddm/model", "export/mdlm/llava"):
        write_json(place / folder / "config.json", {"model_type": "llava_next"})
    return place


def write_place(place: Path) -> Path:
    base = write_marked(place / "base", place / "ran")
    trained: dict[str, Any] = {"base": str(base), "local": True, "revision": COMMIT, "code": hash_code(base)}
    trained |= {"trust_remote_code": True, "backend": "swift", "defects": [], "use_cpu": True, "attn_impl": "sdpa"}
    trained |= {"model_type": "minicpmv2_6", "template": "minicpmv2_6", "torch_dtype": "float32"}
    run = Run(place / "run")
    (run.eddm / "adapter").mkdir(parents=True)
    (run.eddm / "adapter" / "adapter_model.safetensors").touch()
    settings = {"model": {"trust_remote_code": True}}
    write_json(run.eddm / "config.json", {"fingerprint": "f", "trained": trained, "config": settings})
    save_file({"w": ones(1)}, place / "sam.safetensors")
    sam = SamConfig(checkpoint=str(place / "sam.safetensors"))
    built = asdict(MDLMConfig(llava=LlavaConfig(path=str(base)), sam=sam))
    for name in ("eddm", "fixed"):
        (run.mdlm / name / "adapter").mkdir(parents=True)
        for file in ("heads.safetensors", "adapter/adapter_model.safetensors"):
            save_file({"w": ones(1)}, run.mdlm / name / file)
        write_json(run.mdlm / name / "manifest.json", {"format": 1, "mdlm": built})
        write_json(run.mdlm / name / "config.json", {"data": {"train": [], "zero_shot": []}})
    claims = {"run": str(run.path), "description": "eddm", "mode": None, "weights_hash": "", "trust_remote_code": True}
    (place / "expert").mkdir()
    write_json(place / "expert" / "expert.json", {"expert": "mdlm", "config": claims, "fitted": {}})
    write_json(place / "expert" / "gate.json", {"washer": {"score": 0.5, "pixel": 0.5}})
    folders = ("images", "mvtec_ad/washer/train/good", "mvtec_ad/washer/test/good", "mvtec_ad/washer/test/scratch")
    for value, path in enumerate(folders):
        write_image(place / path / "0.png", value)
    write_image(place / "mvtec_ad/washer/ground_truth/scratch/0_mask.png", 255)
    (place / "classes.yaml").write_text(
        yaml.safe_dump({"washer": {"normal": "smooth", "classes": {"scratch": {"description": "a line"}}}})
    )
    question = {"role": "user", "content": "<image>Is there any defect?\nA. Yes.\nB. No.\n"}
    row = {"messages": [question, {"role": "assistant", "content": "B"}], "images": [str(place / "images" / "0.png")]}
    for part in ("train", "zero_shot"):
        row |= {"id": "0", "task": "AD", "category": "x", "difficulty": "easy"}
        write_jsonl(run.ddqa / f"{part}.jsonl", [row])
    write_mmad(place / "mmad")
    code = write_marked(place / "export" / "eddm" / "model", place / "ran")
    write_marked(place / "export" / "mdlm" / "llava", place / "ran")
    shutil.copyfile(place / "sam.safetensors", place / "export" / "mdlm" / "heads.safetensors")
    for kind, values in (("eddm", {"trained": trained | {"code": hash_code(code)}}), ("mdlm", {"description": "eddm"})):
        part = place / "export" / kind
        export = {"format": 1, "kind": kind, "merged": True, "dtype": "float32", "files": list_files(part), **values}
        write_json(part / "manifest.json", {"format": 1, "mdlm": built, "export": export})
    return place


def write_image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((32, 32, 3), value, np.uint8))


def say(run_command: RunCommand, place: Path, new: Path, command: str, arguments: tuple[str, ...], capsys: Any) -> str:
    """All that a command prints and logs, whether it ends with an error or not."""
    names = {name: place / name for name in ("base", "run", "images")} | {"data": place, "new": new}
    names |= {"questions": f"questions={place}/run/ddqa/train.jsonl"}
    try:
        said = run_command(command, *(word.format(**names) for word in arguments))
    except SystemExit as end:
        assert end.code in (1, 2)
        said = ""
    captured = capsys.readouterr()
    return said + captured.out + captured.err


@pytest.mark.parametrize(("command", "arguments"), COMMANDS, ids=name_case)
def test_no_command_runs_the_code_of_a_chat_model(
    command: str, arguments: tuple[str, ...], place: Path, tmp_path: Path, run_command: RunCommand, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("EIAD_DATA", str(place))
    said = say(run_command, place, tmp_path / "new", command, arguments, capsys)
    assert "names code of its own (auto_map in config.json), which would run with your rights" in " ".join(said.split())
    assert not (place / "ran").exists()


@pytest.mark.parametrize(("command", "arguments"), NATIVE, ids=name_case)
def test_no_command_runs_code_of_a_localization_model(
    command: str, arguments: tuple[str, ...], place: Path, tmp_path: Path, run_command: RunCommand, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("EIAD_DATA", str(place))
    said = say(run_command, place, tmp_path / "new", command, arguments, capsys)
    assert "names code of its own (auto_map in config.json), and none is run here" in " ".join(said.split())
    assert not (place / "ran").exists()


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("plan", ("preset=paper", "eddm.model.id={base}")),
        ("run_all", ("preset=paper", "data=paper", "run_dir={new}", "dry_run=true", "extra=['eddm: model.id={base}']")),
    ],
    ids=name_case,
)
def test_planning_reads_sizes_and_runs_nothing(
    command: str, arguments: tuple[str, ...], place: Path, tmp_path: Path, run_command: RunCommand, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("EIAD_DATA", str(place))
    said = say(run_command, place, tmp_path / "new", command, arguments, capsys)
    assert "config.json names no 'hidden_size'" in said
    assert not (place / "ran").exists()


@pytest.mark.parametrize(
    ("command", "arguments"),
    [entry for entry in (*COMMANDS, *NATIVE) if entry[0] not in ("train_eddm", "train_mdlm", "doctor")],
    ids=name_case,
)
def test_every_command_refuses_a_gpu_that_is_not_there(
    command: str, arguments: tuple[str, ...], plain: Path, tmp_path: Path, run_command: RunCommand, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("EIAD_DATA", str(plain))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    said = say(run_command, plain, tmp_path / "new", command, (*arguments, "device=cuda:7"), capsys)
    assert "device=cuda:7 asks for GPU 7, but torch sees none here" in " ".join(said.split())


def test_every_command_that_can_be_told_to_trust_is_among_them() -> None:
    for name in sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base"):
        schema = importlib.import_module(f"scripts.{name}").main.schema
        if "trust_remote_code" in {entry.name for entry in fields(schema)} and name != "run_all":
            assert name in {command for command, _ in COMMANDS}, f"{name} takes trust_remote_code= and is not tried"
