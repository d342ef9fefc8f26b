"""python -m scripts.benchmarks.winclip [IMAGES] [BATCH]: our WinCLIP beside anomalib's, zero-shot.

Both look at the same images through one CLIP of 240 px with random weights, in this one process: prints CPU seconds of
one thread, images a second, ratios, and how far the maps are apart. anomalib hands windows to the transformer tokens
first, but newer versions of open_clip take the first axis for the images, so that all windows of a batch attend to one
another: its maps are not WinCLIP's then. It is timed as it is, and with its windows turned, which gives the maps that
ours are compared with. Needs anomalib, in an environment of its own: it is no requirement of this project.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from data.errors import UserError
from models.experts.clip.backbone import Clip, ClipConfig
from models.experts.clip.winclip import WinClip, WinClipConfig
from scripts.command import readable_errors

CATEGORY = "gear"
ROUNDS = 2
GOAL, CLOSE = 3.0, 1e-4
OURS, AS_IT_IS, TURNED = "ours", "anomalib", "anomalib, windows turned"


class Turned(nn.Module):
    """open_clip's transformer that takes windows as anomalib gives them: tokens first, (1 + k², B·W, C).

    Args:
        transformer: Takes images, and windows, first.
        tokens: Tokens of a whole image, which tell it from windows.
    """

    def __init__(self, transformer: nn.Module, tokens: int) -> None:
        super().__init__()
        self.transformer, self.tokens = transformer, tokens

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens after the last block, in the order that they came in."""
        whole = tokens.shape[1] == self.tokens
        after: Tensor = self.transformer(tokens if whole else tokens.transpose(0, 1))
        return after if whole else after.transpose(0, 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs all sides and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="?", type=int, default=8)
    parser.add_argument("batch", nargs="?", type=int, default=8)
    given = parser.parse_args(arguments)
    with readable_errors():
        if min(given.images, given.batch) < 1:
            raise UserError("IMAGES and BATCH must be at least 1.")
        module = import_anomalib()  # before anything takes time
        torch.set_num_threads(1)
        compare(module, ClipConfig().model, given.images, given.batch)


def compare(module: Any, model: str, count: int, batch: int) -> float:
    """Times the sides on the same images, and prints; the largest difference between our maps and anomalib's turned.

    Args:
        module: anomalib's `torch_model` of WinCLIP.
        model: Name of a CLIP of open_clip.
        count: Images.
        batch: Images a batch.
    """
    torch.manual_seed(0)
    network = open_clip.create_model(model, load_weights=False, pretrained_text=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.safetensors"
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
        ours = WinClip(Clip(ClipConfig(model=model, checkpoint=str(path), device="cpu")), WinClipConfig())
    theirs = make_anomalib(module, network)
    clip, plain = ours.clip, network.visual.transformer
    transformers = {AS_IT_IS: plain, TURNED: Turned(plain, 1 + clip.grid[0] * clip.grid[1])}

    seconds = {AS_IT_IS: _time(lambda: theirs.setup(CATEGORY))[0], OURS: _time(lambda: ours.pair(CATEGORY))[0]}
    print(f"texts of a product: anomalib {seconds[AS_IT_IS]:.1f} s, ours {seconds[OURS]:.1f} s", flush=True)
    theirs._text_embeddings = ours.pair(CATEGORY).stacked  # one of its 21 templates is there twice

    def look(side: str) -> list[np.ndarray]:
        if side == OURS:
            return [anomaly_map for part in batches for anomaly_map, _ in ours.score(CATEGORY, part)]
        network.visual.transformer = transformers[side]
        return [anomaly_map for part in batches for anomaly_map in theirs(clip.prepare(part)).anomaly_map.numpy()]

    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (clip.side, clip.side, 3), np.uint8) for _ in range(count)]
    batches = [images[start : start + batch] for start in range(0, count, batch)]
    ours.clip.config.batch_size = batch
    maps: dict[str, np.ndarray] = {}
    best = dict.fromkeys((*transformers, OURS), float("inf"))
    for _ in range(ROUNDS):
        for side in best:
            taken, found = _time(partial(look, side))
            best[side], maps[side] = min(best[side], taken / count), np.stack(found)
    print(f"{count} images, batches of {batch}, maps of ours from {maps[OURS].min():.4f} to {maps[OURS].max():.4f}")
    for side, taken in best.items():
        apart = float(np.abs(maps[side] - maps[OURS]).max())
        told = "" if side == OURS else f", ours {taken / best[OURS]:.2f} × as fast, maps {apart:.1e} apart"
        print(f"{side}: {taken:.2f} s an image, {1 / taken:.3f} images/s{told}", flush=True)
    apart = float(np.abs(maps[TURNED] - maps[OURS]).max())
    _judge("ours beside anomalib", best[AS_IT_IS] / best[OURS], best[AS_IT_IS] / best[OURS] >= GOAL, f"{GOAL:g} ×")
    _judge("maps beside anomalib's turned windows", apart, apart <= CLOSE, f"{CLOSE:g} at most")
    return apart


def make_anomalib(module: Any, network: Any) -> Any:
    """Its WinCLIP over a network that is there already; it would download one."""
    known = module.open_clip
    module.open_clip = SimpleNamespace(create_model_and_transforms=lambda name, pretrained: (network, None, None))
    try:
        return module.WinClipModel().eval()
    finally:
        module.open_clip = known


def import_anomalib() -> Any:
    """The module of its WinCLIP.

    Raises:
        UserError: If anomalib is not installed.
    """
    try:
        from anomalib.models.image.winclip import torch_model
    except ImportError as error:
        raise UserError(
            "anomalib is not installed, and there is nothing to compare with. Make an environment for this benchmark "
            "alone: pip install -r requirements.txt -r scripts/requirements/anomalib.txt -c constraints.txt "
            f"({error})"
        ) from error
    return torch_model


def _time(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def _judge(name: str, value: float, reached: bool, goal: str) -> None:
    print(f"{name}: {value:.3g}, goal {goal}: {'reached' if reached else 'NOT reached'}")


if __name__ == "__main__":
    main()
