"""python scripts/benchmarks/demo.py [FOLDER]: times the demo in a new environment and a new run directory.

Prints the seconds and the peak memory of each stage and of the whole, with the limits of the project beside them.
FOLDER (default: a temporary one) keeps the environment, the run and the log.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
LIMIT_MINUTES, LIMIT_GIB, LIMIT_SILENCE = 15.0, 8.0, 10.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the demo once and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?")
    folder = Path(parser.parse_args(arguments).folder or tempfile.mkdtemp(prefix="eiad-demo-")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"EIAD_VENV": str(folder / "venv"), "EIAD_RUN_DIR": str(folder / "run")}
    started = last_line = time.monotonic()
    silence = peak = 0.0
    install_seconds: float | None = None
    with (folder / "demo.log").open("wb") as log:
        child = subprocess.Popen(["bash", "scripts/demo.sh"], cwd=ROOT, env=environment, stdout=log, stderr=log)
        written = 0
        while child.poll() is None:
            time.sleep(0.5)
            now = time.monotonic()
            size = (folder / "demo.log").stat().st_size
            if install_seconds is None and (folder / "run" / "logs").is_dir():
                install_seconds = now - started
                last_line = now
            if size > written:
                written, last_line = size, now
            if install_seconds is not None:
                silence = max(silence, now - last_line)
            peak = max(peak, resident_gib(child.pid))
    total = time.monotonic() - started
    print((folder / "demo.log").read_text(errors="replace")[-3000:])
    stages = json.loads((folder / "run" / "stages.json").read_text())
    print(f"{'stage':<28}{'seconds':>9}{'GiB':>8}")
    print(f"{'install':<28}{install_seconds or 0:>9.0f}")
    for name, stage in stages.items():
        print(f"{name:<28}{stage['seconds']:>9.0f}{stage['peak_gib']:>8.2f}")
    print(f"{'total (limit 15 min)':<28}{total:>9.0f}   {total / 60:.1f} min")
    print(f"{'peak memory (limit 8 GiB)':<28}{peak:>17.2f}")
    print(f"{'longest silence (limit 10 s)':<28}{silence:>9.1f}")
    within = total / 60 < LIMIT_MINUTES and peak < LIMIT_GIB and silence <= LIMIT_SILENCE
    sys.exit(child.returncode or (0 if within else 1))


def resident_gib(pid: int) -> float:
    """Resident memory of a process and all below it."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
        return sum(process.memory_info().rss for process in family) / 2**30
    except psutil.Error:
        return 0.0


if __name__ == "__main__":
    main()
