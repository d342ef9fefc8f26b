"""python -m scripts.benchmarks.app [run=tiny|expert=NAME expert_dir=DIR …] [--photos 20] [--side 512]: the page's cost.

Seconds from a request over HTTP, as a browser sends it, to the page's answer, beside those of the same look and, where
there is somebody to talk to, the same answer in this process: half of the generated photos go to each side, in turns,
for a photo that was seen once is not encoded again. Settings are those of `scripts.app`. Exit code 1 where a ratio is
above the project's goal. As many threads for the model as `OMP_NUM_THREADS` says.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from eval.assistant.assistant import Assistant, load_assistant
from eval.assistant.config import AppConfig
from eval.assistant.serve import served
from eval.inspection.photos import Photo
from scripts.benchmarks.inspection import write_photos
from scripts.command import compose_config, readable_errors

GOAL = 1.2
QUESTION = "What is wrong?"


def main(words: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="key=value")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--side", type=int, default=512)
    arguments = parser.parse_intermixed_args(words)
    with readable_errors(), tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_photos(place / "photos", 2 * (arguments.photos + 1), arguments.side)
        config = compose_config("app", AppConfig, arguments.settings or ["run=tiny"])
        config = replace(config, judgements=str(place / "log"), port=0)
        ratios = compare(config, load_assistant(config), sorted((place / "photos").iterdir()))
    for name, (page, model) in ratios.items():
        verdict = "reached" if page <= GOAL * model else "NOT reached"
        print(f"{name}: page {page:.3f} s, model {model:.3f} s: {page / model:.2f} ×, goal {GOAL} ×: {verdict}")
    if any(page > GOAL * model for page, model in ratios.values()):
        sys.exit(1)


def compare(config: AppConfig, assistant: Assistant, photos: Sequence[Path]) -> dict[str, tuple[float, float]]:
    """Median seconds of a look and of an answer, by the page and by the model alone."""
    with served(config, assistant) as address, httpx.Client(base_url=f"{address}gradio_api/", timeout=600) as client:

        def call(name: str, photo: Path, *further: Any) -> None:
            (path,) = client.post("upload", files={"files": (photo.name, photo.read_bytes())}).json()
            data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, *further]
            event = client.post(f"call/{name}", json={"data": data}).json()["event_id"]
            answer = client.get(f"call/{name}/{event}").text
            if "event: complete" not in answer:
                raise RuntimeError(f"The page did not answer: {answer}")

        def look(photo: Path) -> None:
            list(assistant.inspector.inspect([Photo(photo.name, photo)]))

        ways: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
            "look": (lambda photo: call("inspect", photo, None), look)
        }
        if assistant.eddm is not None:
            ways["answer"] = (
                lambda photo: call("ask", photo, QUESTION, []),
                lambda photo: assistant.ask(assistant.talk(photo), QUESTION),
            )
        return {name: seconds(page, own, photos) for name, (page, own) in ways.items()}


def seconds(page: Callable[[Path], Any], own: Callable[[Path], Any], photos: Sequence[Path]) -> tuple[float, float]:
    """Median seconds a photo of both sides, in turns, so that a busy machine is busy for both; without the first."""
    spent: tuple[list[float], list[float]] = ([], [])
    for index, photo in enumerate(photos):
        begun = time.perf_counter()
        (page, own)[index % 2](photo)
        spent[index % 2].append(time.perf_counter() - begun)
    return statistics.median(spent[0][1:]), statistics.median(spent[1][1:])


if __name__ == "__main__":
    main()
