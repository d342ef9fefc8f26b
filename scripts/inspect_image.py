"""python -m scripts.inspect_image image=PATH run=RUN_DIR out=DIR [overlay=contour|heat|both] [contour.threshold=0.5].

With classes=FILE category=NAME the class of what is found is named, with policy=FILE also what to do with the piece.
Writes <name>_mask.png, <name>_overlay.png and <name>.json to DIR; stdout is the same JSON on one line, nothing else.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from models.eiad import InspectConfig, inspect_image
from scripts.command import command


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Whatever a library prints goes to stderr, down to the file descriptor."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


@command("inspect_image", InspectConfig)
def main(config: InspectConfig) -> None:
    """Inspects one image."""
    with stdout_to_stderr():
        result = inspect_image(config)
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
