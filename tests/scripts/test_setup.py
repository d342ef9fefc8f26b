"""`scripts/setup.sh` with a Python that only notes what it is asked for: nothing is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "scripts" / "setup.sh"
FAKE = """#!/usr/bin/env bash
# A Python: FAKE_UV=missing|broken, FAKE_PIP=broken, FAKE_VENV=killed.
all="$*"
case "$all" in
  "-c "*) exit 0 ;;
  "-m venv "*)
    for place; do :; done
    [ "$3" = --clear ] && rm -rf "$place"
    mkdir -p "$place/bin" && echo "home = /usr/bin" >"$place/pyvenv.cfg" && cp "$0" "$place/bin/python"
    echo "$*" >>"$FAKE_LOG"
    [ "$FAKE_VENV" = killed ] && exit 137
    touch "$place/pip" ;;
  "-m pip --version") [ -f "$(dirname "$0")/../pip" ] ;;
  "-m uv --version") [ "$FAKE_UV" != missing ] && [ -f "$(dirname "$0")/../uv" ] ;;
  "-m pip install "*" uv")
    echo "WARNING: Location '/mirror' is ignored" >&2
    [ "$FAKE_UV" = missing ] && { echo "ERROR: No matching distribution found for uv" >&2; exit 1; }
    touch "$(dirname "$0")/../uv" ;;
  "-m uv pip install "*)
    [ -f "$(dirname "$0")/../uv" ] || { echo "$0: No module named uv" >&2; exit 1; }
    echo "warning: hardlinks fail, falling back to full copy" >&2
    [ "$FAKE_UV" = broken ] && { echo "error: uv found no such version" >&2; exit 2; }
    echo "uv: ${all##*-c }" >>"$FAKE_LOG" ;;
  "-m pip install "*)
    [ "$FAKE_PIP" = broken ] && { echo "ERROR: pip found no such version" >&2; exit 1; }
    echo "pip: ${all##*-c }" >>"$FAKE_LOG" ;;
  *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "a project"
    (root / "scripts").mkdir(parents=True)
    shutil.copy(SETUP, root / "scripts/setup.sh")
    for name in ("constraints.txt", "requirements.txt", "dev.txt"):
        (root / name).write_text(f"{name}==1\n")
    (root / "python3").write_text(FAKE)
    (root / "python3").chmod(0o755)
    return root


def install(root: Path, *files: str, code: int = 0, **settings: str) -> tuple[str, str, list[str]]:
    """Standard output, errors, and what was made and installed."""
    log = root / "log"
    log.unlink(missing_ok=True)
    known = {"PATH": os.environ["PATH"], "PYTHON": str(root / "python3"), "FAKE_LOG": str(log)}
    chosen = " ".join(files or ("requirements.txt",))
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail; source '{root}/scripts/setup.sh'; install {chosen}"],
        env=known | {"FAKE_UV": "", "FAKE_PIP": "", "FAKE_VENV": ""} | settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr, log.read_text().splitlines() if log.exists() else []


def test_an_environment_is_made_once_and_filled_once(root: Path) -> None:
    said, errors, did = install(root)
    assert did == ["-m venv .venv", "uv: constraints.txt -r requirements.txt"]
    assert "creating the virtual environment" in said and "installing" in said and errors == ""
    said, errors, did = install(root)
    assert (said, errors, did) == ("== environment .venv is up to date\n", "", [])


def test_constraints_that_come_back_are_installed_again(root: Path) -> None:
    install(root)
    for text in ("b==2\n", "constraints.txt==1\n"):
        (root / "constraints.txt").write_text(text)
        assert install(root)[2] == ["uv: constraints.txt -r requirements.txt"]
        assert install(root)[2] == []
    assert [path.name for path in (root / ".venv").glob(".installed*")] == [".installed"]


def test_a_second_set_of_requirements_leaves_the_first_up_to_date(root: Path) -> None:
    install(root)
    assert install(root, "requirements.txt", "dev.txt")[2] == ["uv: constraints.txt -r requirements.txt -r dev.txt"]
    assert install(root)[2] == install(root, "requirements.txt", "dev.txt")[2] == install(root, "dev.txt")[2] == []
    (root / "requirements.txt").write_text("other==1\n")
    assert install(root)[2] == ["uv: constraints.txt -r requirements.txt"]
    assert install(root, "dev.txt")[2] == []
    (root / "constraints.txt").write_text("b==2\n")
    install(root)
    assert install(root, "dev.txt")[2] == ["uv: constraints.txt -r dev.txt"]


def test_an_interrupted_installation_is_none(root: Path) -> None:
    install(root)
    before = (root / "constraints.txt").read_text()
    (root / "constraints.txt").write_text("b==2\n")
    install(root, code=1, FAKE_UV="broken", FAKE_PIP="broken")
    (root / "constraints.txt").write_text(before)
    assert install(root)[2] == ["uv: constraints.txt -r requirements.txt"]


def test_a_half_made_environment_is_made_again(root: Path) -> None:
    install(root, code=2, FAKE_VENV="killed")
    assert (root / ".venv/bin/python").exists()
    _, errors, did = install(root)
    assert did == ["-m venv --clear .venv", "uv: constraints.txt -r requirements.txt"] and errors == ""
    (root / ".venv/bin/python").unlink()  # the Python that it was made with is gone
    assert install(root)[2][0] == "-m venv --clear .venv"


def test_only_environments_are_cleared(root: Path) -> None:
    (root / "mine").mkdir()
    (root / "mine/thesis.tex").touch()
    assert install(root, EIAD_VENV="mine")[2][0] == "-m venv mine"
    assert (root / "mine/thesis.tex").exists()


@pytest.mark.parametrize("uv", ["missing", "broken"])
def test_without_uv_pip_installs_and_nobody_else_is_heard(root: Path, uv: str) -> None:
    said, errors, did = install(root, FAKE_UV=uv)
    assert did[-1] == "pip: constraints.txt -r requirements.txt"
    assert errors == "" and "arning" not in said.lower()


def test_real_errors_are_heard(root: Path) -> None:
    _, errors, _ = install(root, code=1, FAKE_UV="broken", FAKE_PIP="broken")
    assert "ERROR: pip found no such version" in errors and "error: uv found no such version" in errors
    (root / "requirements.txt").unlink()
    assert "requirements.txt" in install(root, code=1)[1]
