"""python -m scripts.benchmarks.app [RUN] [--photos 20] [--side 512]: what the page costs beside its model.

Seconds from a program's request over HTTP to the page's answer, beside those of the same look and the same answer in
this process: half of the generated photos go to each side, in turns, for a photo that was seen once is not encoded
again. Exit code 1 where a ratio is above the project's goal. As many threads for the model as `OMP_NUM_THREADS` says.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eval.assistant.assistant import Assistant, load_assistant
from eval.assistant.config import AppConfig
from eval.assistant.serve import served
from eval.inspection.photos import Photo
from scripts.benchmarks.inspection import write_photos
from scripts.command import readable_errors

GOAL = 1.2
QUESTION = "What is wrong?"


def main(words: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="tiny")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--side", type=int, default=512)
    arguments = parser.parse_args(words)
    with readable_errors(), tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_photos(place / "photos", 2 * (arguments.photos + 1), arguments.side)
        config = AppConfig(run=arguments.run, judgements=str(place / "log"), port=0)
        ratios = compare(config, load_assistant(config), sorted((place / "photos").iterdir()))
    for name, (page, model) in ratios.items():
        verdict = "reached" if page <= GOAL * model else "NOT reached"
        print(f"{name}: page {page:.3f} s, model {model:.3f} s: {page / model:.2f} ×, goal {GOAL} ×: {verdict}")
    if any(page > GOAL * model for page, model in ratios.values()):
        sys.exit(1)


def compare(config: AppConfig, assistant: Assistant, photos: Sequence[Path]) -> dict[str, tuple[float, float]]:
    """Seconds of a look and of an answer, by the page and by the model alone; no side's first photo counts."""
    from gradio_client import Client, handle_file  # slow to import, and not everybody has it

    with served(config, assistant) as address:
        client = Client(address, verbose=False)
        pairs: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
            "look": (
                lambda path: client.predict(handle_file(str(path)), api_name="/inspect"),
                lambda path: list(assistant.inspector.inspect([Photo(path.name, path)])),
            ),
            "answer": (
                lambda path: client.predict(handle_file(str(path)), QUESTION, [], api_name="/ask"),
                lambda path: assistant.ask(assistant.talk(path), QUESTION),
            ),
        }
        ways = pairs.items()
        return {name: (seconds(page, photos[::2]), seconds(model, photos[1::2])) for name, (page, model) in ways}


def seconds(act: Callable[[Path], Any], photos: Sequence[Path]) -> float:
    """Mean seconds a photo, after the first."""
    act(photos[0])
    begun = time.perf_counter()
    for photo in photos[1:]:
        act(photo)
    return (time.perf_counter() - begun) / (len(photos) - 1)


if __name__ == "__main__":
    main()
