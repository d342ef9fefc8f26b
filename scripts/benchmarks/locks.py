"""python scripts/benchmarks/locks.py RUN: what it costs a run that each place has one writer.

Times a lock that is taken and released, and what a process spends on importing the means, in a new process and in a
temporary folder; counts the locks that a finished run has taken (those of its stages, and those of its logs, once a
group of rows); prints their seconds beside those of the run's stages, and the limit. Exit code 1 past it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_PERCENT = 1.0
TIMES = 500
IN_A_STAGE = 4  # its place, its results, and the two logs of an evaluation


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the share of a run's time that its locks take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    run = Path(parser.parse_args(arguments).run)
    if run == Path("measure"):
        measure()
        return
    done = subprocess.run([sys.executable, __file__, "measure"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    one, loading = json.loads(done.stdout)
    stages = json.loads((run / "stages.json").read_text())
    spent = sum(stage["seconds"] for stage in stages.values())
    groups = sum(count_groups(path) for path in run.rglob("log.jsonl"))
    locks = IN_A_STAGE * len(stages) + groups
    seconds = locks * one + len(stages) * loading
    share = 100 * seconds / spent
    print(f"{'one lock':<32}{1000 * one:>9.2f} ms")
    print(f"{'loading, a process':<32}{1000 * loading:>9.2f} ms")
    print(f"{f'{locks} locks, {len(stages)} stages':<32}{seconds:>9.2f} s")
    print(f"{'stages of the run':<32}{spent:>9.0f} s")
    print(f"{f'share (limit {LIMIT_PERCENT:g} %)':<32}{share:>9.2f} %")
    sys.exit(0 if share <= LIMIT_PERCENT else 1)


def count_groups(path: Path) -> int:
    """How often a training took the lock of a log: before its first row, and with every group."""
    from train.engine.progress import GROUP

    return 1 + -(-len(path.read_text().splitlines()) // GROUP)


def measure() -> None:
    """Prints, as JSON, the seconds of one lock and of loading what it needs."""
    import data.files  # noqa: F401  (every command loads it)

    started = time.perf_counter()
    from data.processes.lock import held

    loading = time.perf_counter() - started
    with tempfile.TemporaryDirectory(prefix="eiad-locks-") as folder:
        place = Path(folder) / "out"
        started = time.perf_counter()
        for _ in range(TIMES):
            with held(place):
                pass
        print(json.dumps([(time.perf_counter() - started) / TIMES, loading]))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
