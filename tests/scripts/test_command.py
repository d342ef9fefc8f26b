import errno
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from data.ddqa.config import DDQAConfig, resolve
from data.doctor.examine import DoctorConfig
from data.errors import UserError
from data.plugins.trust import check_allowed
from eval.inspection.config import InspectConfig
from scripts.command import compose_config, readable_errors, spell_out, to_dataclass
from train.plan.config import PlanConfig

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Schema:
    name: str
    steps: int = 1


def test_typed_conversion_refuses_what_does_not_fit() -> None:
    assert to_dataclass(OmegaConf.create({"name": "x", "steps": 2}), Schema) == Schema("x", 2)
    for values, message in [
        ({"name": "x", "stesp": 2}, "stesp"),
        ({"steps": 2}, "name"),
        ({"name": "x", "steps": "many"}, "steps"),
        ({"name": "${oc.env:EIAD_NOT_SET_ANYWHERE}"}, "EIAD_NOT_SET_ANYWHERE first, .*, or give name=…"),
    ]:
        with pytest.raises(UserError, match=message):
            to_dataclass(OmegaConf.create(values), Schema)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("Missing file: x."), 2, "error: Missing file: x."),
        (UserError("Missing file: \x1b[2Jx."), 2, "error: Missing file: \\x1b[2Jx."),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 1, "the disk is full"),
        (RuntimeError("write failed: No space left on device (os error 28)"), 1, "the disk is full"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "maps/0.npy"), 1, "Cannot write maps/0.npy: the disk quota"),
        (OSError("4000 requested and 109 written"), 1, "the disk is full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), 1, "the disk is full"),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), 2, "the file is larger than"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "out/a.json"), 2, "out/a.json: the file system is read-only"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "out/a.json"), 2, "out/a.json: permission denied"),
    ],
)
def test_errors_become_one_line(error: BaseException, code: int, message: str, capsys) -> None:
    with pytest.raises(SystemExit) as caught, readable_errors():
        raise error
    assert caught.value.code == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("error", [ZeroDivisionError(), PermissionError(errno.EPERM, "no"), OSError(errno.EIO, "disk")])
def test_other_errors_keep_their_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), readable_errors():
        raise error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["preset=nope"], "There is no preset=nope. Choose one of: lisa"),
        (["run_dirr=x"], "has no setting run_dirr. Did you mean run_dir?"),
        ([], "run_dir"),
        (["run_dir=x", "tasks=[AD,XYZ]"], "XYZ"),
    ],
)
def test_the_command_line_explains_itself(arguments: list[str], message: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.build_ddqa", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


NAMES = [
    *("part (1).png", "零件 1.png", "a=b.png", "a,b.png", "a#1.png", "50%.png", "it's.png", "[1].png", "{x}.png"),
    *("$HOME.png", "@2x.png", "a:b.png", "~tmp.png", "true", "007", "1e5", "-x.png", "a&b.png", " lead.png", "trail "),
    *('q"q.png', "back\\slash.png", "ends in\\", "it\\'s", "'a' or 'b'", "ünï.png", "!x.png", "null", "*?.png"),
]


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_arrives_as_it_was_typed(name: str) -> None:
    config = compose_config("inspect", InspectConfig, [f"images={name}", "run=r", "out=o"])
    assert config.images == name
    built = compose_config("build_ddqa", DDQAConfig, ["sources=[folder]", f"paths.folder={name}", "out=o"])
    assert built.paths == {"folder": name}
    examined = compose_config("doctor", DoctorConfig, [spell_out(f"data=d/{name}", DoctorConfig, {"data": "folder"})])
    assert examined.folder == f"d/{name}"


def test_what_is_quoted_already_or_no_text_stays_as_it_is() -> None:
    for word in ("images='a b.png'", 'images="a b.png"', "preset=tiny", "--cfg", "hydra.run.dir=x", "~out", "images="):
        assert spell_out(word, InspectConfig, {}) == word
    for word in ("images=a b's.png", "+images=x#"):
        once = spell_out(word, InspectConfig, {})
        assert spell_out(once, InspectConfig, {}) == once
    assert spell_out("reader=null", DoctorConfig, {}) == "reader=null"
    assert spell_out("show=3", DoctorConfig, {}) == "show=3"
    words = [
        "settings.folder.options.threshold=3",
        "settings.folder.options.defect=scratch #1",
        "settings.folder.splits=[a b,007]",
    ]
    config = compose_config("build_ddqa", DDQAConfig, ["sources=[folder]", "paths.folder=d", "out=o", *words])
    settings = config.settings["folder"]
    assert settings["options"] == {"threshold": 3, "defect": "scratch #1"}
    assert settings["splits"] == ["a b", "007"]


def test_another_commands_configuration_outside_a_command() -> None:
    config = compose_config("plan", PlanConfig, ["preset=tiny", "gpus=1", "gpu_gib=24"])
    assert (config.preset, config.gpus) == ("tiny", 1)
    with pytest.raises(UserError, match=r"scripts\.plan has no setting gqus\. Did you mean gpus"):
        compose_config("plan", PlanConfig, ["preset=tiny", "gqus=1", "gpu_gib=24"])


def test_a_command_line_allows_the_plugins_that_it_names_and_no_others() -> None:
    compose_config("build_ddqa", DDQAConfig, ["sources=[deep.pass_fail:read]", "data_root=d", "out=o"])
    check_allowed("deep.pass_fail:read")
    with pytest.raises(UserError, match=r"plugins=\[other:read\]"):
        check_allowed("other:read")


def test_a_reader_of_ones_own_is_a_source_by_its_modules_name() -> None:
    words = ["out=o", "data_root=/d", "settings.pass_fail.splits=[test]", "sources=[deep.pass_fail:read,bsdata]"]
    own, other = resolve(compose_config("build_ddqa", DDQAConfig, words))[0]
    assert (own.reader, own.root, own.splits) == ("deep.pass_fail:read", "/d/pass_fail", ["test"])
    assert other.root == "/d/bsdata"
    words = ["out=o", "paths.pass_fail=/p", "sources=[deep.pass_fail:read]"]
    (own,) = resolve(compose_config("build_ddqa", DDQAConfig, words))[0]
    assert own.root == "/p"


def test_the_sheet_says_what_it_wrote(run_command, tmp_path: Path) -> None:
    words = [f"out={tmp_path / 'sheet.png'}", "categories=gear", "size=64", "tile=32"]
    assert run_command("contact_sheet", *words) == f"1 products in {tmp_path / 'sheet.png'}\n"
