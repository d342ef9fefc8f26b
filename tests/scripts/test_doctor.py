"""The command itself: one JSON document on stdout, exit codes, paths with odd characters."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def doctor(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.doctor", *arguments, f"cache={cache}", "workers=1"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_one_document_and_exit_code_0(write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec(name="a (b), c=d'é {x}")
    done = doctor(f"data={root}", "json=true", f"out={tmp_path}/all [1].txt", cache=tmp_path / "c, d")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert (document["passed"], document["problems"], document["data"]["reader"]) == (True, [], "mvtec_ad")
    assert document["data"]["counts"][0] == {
        "category": "washer", "split": "test", "normal": 2, "anomalous": 2, "defects": {"scratch": 2}
    }  # fmt: skip
    assert "Healthy" in (tmp_path / "all [1].txt").read_text()


def test_errors_exit_with_1_and_are_complete_in_json_and_file(write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec(defects=9)
    for mask in (root / "washer/ground_truth/scratch").iterdir():
        mask.unlink()
    text = doctor(f"data={root}", "show=2", f"out={tmp_path}/all.json", cache=tmp_path / "c")
    assert text.returncode == 1
    assert "ERROR missing-mask, 9" in text.stdout
    assert "… and 7 more" in text.stdout
    assert "Not usable as it is: 9 errors" in text.stdout
    document = json.loads(doctor(f"data={root}", "json=true", cache=tmp_path / "c").stdout)
    assert document["totals"] == {"error": 9, "warning": 1, "note": 0}
    saved = json.loads((tmp_path / "all.json").read_text())
    assert saved["problems"] == document["problems"]
    assert {"severity", "code", "file", "message", "fix"} == set(document["problems"][0])


def test_a_missing_folder_is_a_document_too(tmp_path: Path) -> None:
    done = doctor(f"data={tmp_path}/nowhere", "json=true", cache=tmp_path / "c")
    assert done.returncode == 1
    assert [problem["code"] for problem in json.loads(done.stdout)["problems"]] == ["missing-folder"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to examine"),
        (["data=x", "workers=0"], "at least 1"),
        (["data=x", "reader=nope"], "There is no reader=nope"),
        (["datta=x"], "datta"),
    ],
)
def test_bad_settings_are_explained(arguments: list[str], message: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.doctor", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
