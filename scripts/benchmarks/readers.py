"""python scripts/benchmarks/readers.py [SAMPLES]: how long reading an index takes, and how much memory.

Writes two trees of SAMPLES (default 150,000, the size of Real-IAD) images below a temporary folder, as empty files,
because readers decode nothing: Real-IAD's, read from its JSON files, and MVTec AD's, read from its folders. Each is
read in three new processes, of which the fastest counts: other programs disturb the clock. Prints the seconds (of the
wall clock; of the CPU beside them), the peak memory, imports included, and the limits; exit code 1 past them. The
trees take 200,000 inodes each and are removed.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS, LIMIT_MB = 10.0, 500.0
CATEGORIES, VIEWS, RUNS = 30, 5, 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the trees and reads each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="?", type=int, default=150_000)
    parser.add_argument("--read", nargs=2, metavar=("READER", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.read:
        read(*given.read)
        return
    samples = given.samples
    print(f"{'reader':<12}{'images':>9}{'read':>9}{'skipped':>9}{'seconds':>9}{'CPU':>7}{'peak MB':>9}")
    within = True
    writers: dict[str, Callable[[Path, int], None]] = {"real_iad": write_real_iad, "mvtec_ad": write_mvtec_ad}
    for reader, write in writers.items():
        with tempfile.TemporaryDirectory(prefix="eiad-readers-") as folder:
            write(Path(folder), samples)
            command = [sys.executable, __file__, "--read", reader, folder]
            runs = [subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE) for _ in range(RUNS)]
        found = min((json.loads(done.stdout) for done in runs), key=lambda run: run["s"])
        counts = f"{samples:>9}{found['read']:>9}{found['skipped']:>9}"
        print(f"{reader:<12}{counts}{found['s']:>9.2f}{found['cpu']:>7.2f}{found['mb']:>9.0f}", flush=True)
        within &= found["s"] < LIMIT_SECONDS and found["mb"] < LIMIT_MB
    print(f"{'limit':<39}{LIMIT_SECONDS:>9.2f}{'':>7}{LIMIT_MB:>9.0f}")
    sys.exit(0 if within else 1)


def read(reader: str, folder: str) -> None:
    """Reads one tree and prints the measurements as JSON."""
    sys.path.insert(0, str(ROOT))
    from data.source import Source, load_samples

    started, worked = time.perf_counter(), time.process_time()
    listing = load_samples([Source(reader=reader, root=folder)])
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"read": len(listing.samples), "skipped": len(listing.skipped), "s": seconds, "cpu": cpu, "mb": peak}
    print(json.dumps(found))


def write_real_iad(root: Path, samples: int) -> None:
    """Two thirds normal; of the others every tenth view has no mask."""
    (root / "realiad_jsons").mkdir()
    for number in range(CATEGORIES):
        category = f"object_{number:02d}"
        base = root / "realiad_1024" / category
        records = [_real_iad_record(category, item) for item in range(samples // CATEGORIES)]
        for parent in {str(Path(record["image_path"]).parent) for record in records}:
            (base / parent).mkdir(parents=True)
        for record in records:
            for name in filter(None, (record["image_path"], record["mask_path"])):
                _touch(f"{base}/{name}")
        content = {
            "meta": {"prefix": f"{category}/", "normal_class": "OK"},
            "train": records[: len(records) // 3],
            "test": records[len(records) // 3 :],
        }
        (root / "realiad_jsons" / f"{category}.json").write_text(json.dumps(content))


def _real_iad_record(category: str, item: int) -> dict[str, Any]:
    number, view = divmod(item, VIEWS)
    code = "OK" if number % 3 else ("AK", "BX", "HS")[number // 3 % 3]
    folder = "OK" if code == "OK" else f"NG/{code}"
    stem = f"{folder}/S{number:04d}/{category}_{number:04d}_{folder.replace('/', '_')}_C{view + 1}_20231004133152"
    mask = None if code == "OK" or item % 10 == 0 else f"{stem}.png"
    return {"category": category, "anomaly_class": code, "image_path": f"{stem}.jpg", "mask_path": mask}


def write_mvtec_ad(root: Path, samples: int) -> None:
    """A third each: train, normal test, anomalous test."""
    third = samples // CATEGORIES // 3
    for number in range(CATEGORIES):
        category = root / f"object_{number:02d}"
        for folder in ("train/good", "test/good", "test/scratch", "ground_truth/scratch"):
            (category / folder).mkdir(parents=True)
            ending = "_mask.png" if folder.startswith("ground") else ".png"
            for item in range(third):
                _touch(f"{category}/{folder}/{item:05d}{ending}")


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


if __name__ == "__main__":
    main()
