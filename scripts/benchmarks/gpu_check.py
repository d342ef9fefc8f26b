"""python -m scripts.benchmarks.gpu_check [minutes=4] [out=DIR] [device=cuda|cpu] [sizes=full|tiny]: the paper's sizes.

For a machine with one GPU and nothing to download: it needs torch, transformers and peft (no Hydra, DeepSpeed or
ms-swift); weights are random, made on the device. What a missing package would have shown is a row "skipped: no X".
Rows: the MDLM's training step without and with gradient checkpointing and with QLoRA, its predictions, and pixel
metrics of generated images; a LoRA step, descriptions and MMAD's option scores of a MiniCPM-V 4.6. Each with samples a
second, peak memory beside what `train.plan` predicts, and the share of the device's bf16 peak that model FLOPs reach
(without what is recomputed). `out` gets `gpu_check.md` and `gpu_check.json`, written anew after every row, so that
what was measured survives when time is up. device=cpu sizes=tiny tries the code without a GPU.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.device import choose
from scripts.benchmarks.words import read_words

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}  # dense bf16, FLOP/s
WARMUP, STEPS = 2, 5
IMAGES = {"full": (8, 1024), "tiny": (4, 256)}  # images a batch, and their side
GIB = 2**30


@dataclass
class Row:
    """What was measured; None where it was not, with the reason in `note`."""

    what: str
    seconds: float | None = None
    samples_per_second: float | None = None
    peak_gib: float | None = None
    predicted_gib: float | None = None
    mfu: float | None = None
    note: str = ""


@dataclass
class Check:
    """One run of all rows.

    Attributes:
        device: `cuda` or `cpu`.
        sizes: `full` or `tiny`.
        out: Where the table goes; None prints it alone.
        deadline: When no further row begins, in seconds of `time.monotonic`.
        rows: What has been measured.
    """

    device: str
    sizes: str
    out: Path | None
    deadline: float
    rows: list[Row] = field(default_factory=list)

    def add(self, what: str, measure: Callable[[Row], None]) -> None:
        """Measures a row and writes the table; a missing package, too little memory and the end of time are told."""
        row = Row(what)
        if time.monotonic() > self.deadline:
            row.note = "not reached: time is up"
        else:
            try:
                measure(row)
            except ModuleNotFoundError as error:
                row.note = f"skipped: no {error.name}"
            except torch.OutOfMemoryError:
                row.note = "out of memory"
        self.rows.append(row)
        print(show(row), flush=True)
        self.write()
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def write(self) -> None:
        """The table so far."""
        if self.out is None:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        text = "\n".join([f"{self.title()}\n", HEAD, *map(show, self.rows), ""])
        (self.out / "gpu_check.md").write_text(text, encoding="utf-8")
        facts = {"title": self.title(), "rows": [asdict(row) for row in self.rows]}
        (self.out / "gpu_check.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")

    def title(self) -> str:
        """The device, the versions and the sizes."""
        import peft
        import transformers

        name = torch.cuda.get_device_name() if self.device == "cuda" else "CPU"
        versions = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
        return f"{name}; {versions}; sizes={self.sizes}, random weights"

    def time(self, row: Row, step: Callable[[], Any], samples: int) -> None:
        """Median seconds of a step, samples a second, and the peak of the allocator."""
        seconds = []
        for number in range(WARMUP + STEPS):
            if number == WARMUP and self.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            self.wait()
            start = time.perf_counter()
            step()
            self.wait()
            seconds.append(time.perf_counter() - start)
            if number >= WARMUP and time.monotonic() > self.deadline:
                break
        row.seconds = float(np.median(seconds[WARMUP:]))
        row.samples_per_second = samples / row.seconds
        if self.device == "cuda":
            row.peak_gib = torch.cuda.max_memory_allocated() / GIB

    def wait(self) -> None:
        """Returns when the device has done all that it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def use(self, row: Row, flops: float | None) -> None:
        """Model FLOPs utilisation, where the device's peak is known."""
        peak = next((value for key, value in PEAKS.items() if key in self.title()), None)
        if flops and peak and row.seconds:
            row.mfu = flops / row.seconds / peak

    def autocast(self) -> torch.autocast:
        """The forward pass's number format."""
        return torch.autocast(self.device, torch.bfloat16)


COLUMNS = ["what", "step, s", "samples/s", "peak, GiB", "planned, GiB", "MFU", "note"]
HEAD = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"


def show(row: Row) -> str:
    """A line of the table."""
    cells = [
        "" if value is None else form.format(value)
        for value, form in (
            (row.seconds, "{:.3f}"),
            (row.samples_per_second, "{:.2f}"),
            (row.peak_gib, "{:.1f}"),
            (row.predicted_gib, "{:.1f}"),
            (row.mfu, "{:.0%}"),
        )
    ]
    return f"| {row.what} | {' | '.join(cells)} | {row.note} |"


def check_mdlm(check: Check) -> None:
    """Rows of the localization module."""
    flops: list[float] = []

    def train(row: Row, *, checkpointing: bool, quantize: bool) -> None:
        from scripts.benchmarks.gpu_models import make_mdlm
        from train.engine.optim import OptimConfig, build_optimizer
        from train.mdlm.losses import LossConfig, mask_loss
        from train.plan.footprint import grounding_batch

        model = make_mdlm(check.sizes, check.device, checkpointing=checkpointing, quantize=quantize).train()
        count, _ = IMAGES[check.sizes]
        batch = grounding_batch(model, count, 120).to(check.device)
        optimizer = build_optimizer(model.parameters(), OptimConfig())

        def step() -> None:
            with check.autocast():
                loss = mask_loss(model(batch), batch.masks, batch.valid, LossConfig()).total
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        if not flops and not checkpointing and not quantize:
            with FlopCounterMode(display=False) as counted:
                step()
            flops.append(float(counted.get_total_flops()))
        check.time(row, step, count)
        check.use(row, flops[0] if flops else None)
        if not quantize:
            row.predicted_gib = predict_mdlm(check.sizes, count, checkpointing=checkpointing)

    def predict(row: Row) -> None:
        from scripts.benchmarks.gpu_models import TEXT, make_mdlm

        images, _ = generated_images(check.sizes)
        model = make_mdlm(check.sizes, check.device).eval().place(choose(check.device))
        parts = PartTimes(check, {"SAM": model.sam.image_encoder, "vision tower": model.llava.llava.model.vision_tower})
        parts.watch("language model", model.llava.llava.model.language_model)
        check.time(row, lambda: model.predict(images, [TEXT] * len(images)), len(images))
        row.note = parts.measure(lambda: model.predict(images, [TEXT] * len(images)))

    def evaluate(row: Row) -> None:
        from eval.metrics.pixels import Engine, ScoredImage, pixel_metrics
        from scripts.benchmarks.gpu_models import TEXT, make_mdlm

        images, masks = generated_images(check.sizes)
        model = make_mdlm(check.sizes, check.device).eval().place(choose(check.device))

        def step() -> None:
            found = model.predict(images, [TEXT] * len(images))
            scored = [
                ScoredImage(str(number), prediction.anomaly_map, mask)
                for number, (prediction, mask) in enumerate(zip(found, masks, strict=True))
            ]
            pixel_metrics(scored, engine=Engine.streaming)

        check.time(row, step, len(images))

    count, side = IMAGES[check.sizes]
    check.add(f"MDLM, step of {count} images", lambda row: train(row, checkpointing=False, quantize=False))
    check.add("MDLM, step, checkpointing", lambda row: train(row, checkpointing=True, quantize=False))
    check.add("MDLM, step, QLoRA and checkpointing", lambda row: train(row, checkpointing=True, quantize=True))
    check.add(f"MDLM, predict {count} images of {side}²", predict)
    check.add("MDLM, predict and pixel metrics", evaluate)


def predict_mdlm(sizes: str, count: int, *, checkpointing: bool) -> float:
    """Peak of a step as `train.plan` measures it on fake tensors: weights, what a step needs, AdamW's two moments."""
    from scripts.benchmarks.gpu_models import make_mdlm
    from train.mdlm.losses import LossConfig
    from train.plan.footprint import mdlm_footprint

    model = make_mdlm(sizes, "meta", checkpointing=checkpointing)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    moments = sum(2 * parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    need = mdlm_footprint(
        model, rows=count, text_tokens=120, anyres=False, number=torch.bfloat16, loss=LossConfig()
    ).peak
    return (weights + moments + need) / GIB


class PartTimes:
    """Seconds that parts of a model take in one call, as shares of the whole."""

    def __init__(self, check: Check, parts: dict[str, nn.Module]) -> None:
        self._check, self._seconds, self._parts = check, dict.fromkeys(parts, 0.0), dict(parts)

    def watch(self, name: str, part: nn.Module) -> None:
        """Adds a part."""
        self._parts[name], self._seconds[name] = part, 0.0

    def measure(self, step: Callable[[], Any]) -> str:
        """Runs the step with the device waited for around every part, and names the shares."""
        hooks, began = [], {}

        def before(name: str) -> None:
            self._check.wait()
            began[name] = time.perf_counter()

        def after(name: str) -> None:
            self._check.wait()
            self._seconds[name] += time.perf_counter() - began[name]

        for name, part in self._parts.items():
            hooks.append(part.register_forward_pre_hook(lambda *_, name=name: before(name)))
            hooks.append(part.register_forward_hook(lambda *_, name=name: after(name)))
        self._check.wait()
        start = time.perf_counter()
        step()
        self._check.wait()
        whole = time.perf_counter() - start
        for hook in hooks:
            hook.remove()
        shares = {name: seconds / whole for name, seconds in self._seconds.items()}
        shares["rest"] = 1 - sum(shares.values())
        return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())


def generated_images(sizes: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Noise with one bright square each, (S, S, 3) uint8, and its mask, (S, S) bool."""
    count, side = IMAGES[sizes]
    rng = np.random.default_rng(0)
    images, masks = [], []
    for _ in range(count):
        image, mask = rng.integers(0, 120, (side, side, 3), dtype=np.uint8), np.zeros((side, side), bool)
        top, left = rng.integers(0, side // 2, 2)
        mask[top : top + side // 8, left : left + side // 8] = True
        image[mask] = 220
        images.append(image)
        masks.append(mask)
    return images, masks


def check_eddm(check: Check, folder: Path) -> None:
    """Rows of the dialogue module, on a checkpoint folder that is written, admitted and loaded as any other."""

    def load() -> tuple[Any, list[Any]]:
        from PIL import Image

        from models.chat.protocol import ChatRequest
        from models.chat.vlm import VLM
        from models.weights.trust import admit
        from scripts.benchmarks.gpu_models import QUESTIONS, write_eddm

        if not (folder / "config.json").exists():
            write_eddm(check.sizes, check.device, folder)
            for number, image in enumerate(generated_images(check.sizes)[0]):
                Image.fromarray(image).save(folder / f"{number}.png")
        chat = VLM(admit(folder), None, choose(check.device), name="4.6", batch_size=8)
        images = sorted(folder.glob("*.png"))
        return chat, [ChatRequest(image, text, max_tokens=64) for image in images for text in QUESTIONS]

    def train(row: Row) -> None:
        from peft import LoraConfig, get_peft_model

        from train.engine.optim import OptimConfig, build_optimizer

        chat, requests = load()
        inputs = chat.encode(requests[:8])
        targets = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
        model: Any = get_peft_model(chat.model.train(), LoraConfig(r=8, lora_alpha=32, target_modules=targets))
        optimizer = build_optimizer(model.parameters(), OptimConfig())

        def step() -> None:
            with check.autocast():
                model(**inputs, labels=inputs["input_ids"]).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        check.time(row, step, len(inputs["input_ids"]))

    def describe(row: Row) -> None:
        chat, requests = load()
        asked = requests[2::3]
        check.time(row, lambda: chat.chat(asked), len(asked))

    def score(row: Row) -> None:
        from models.chat.reuse import ReuseScorer

        chat, requests = load()
        asked = [request for number, request in enumerate(requests) if number % 3 < 2]
        scorer = ReuseScorer(chat)
        check.time(row, lambda: scorer.score(asked, [2] * len(asked)), len(asked))
        row.note = "questions a second; " + ("image read once" if scorer.reuses else "every question whole")

    check.add("EDDM (4.6), LoRA step of 8 rows", train)
    check.add("EDDM (4.6), describe, 64 tokens", describe)
    check.add("EDDM (4.6), MMAD's options", score)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what time allows."""
    known = read_words(__doc__, {"minutes": "4", "out": "", "device": "", "sizes": ""}, arguments)
    device = known["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
    sizes = known["sizes"] or ("full" if device == "cuda" else "tiny")
    if device not in ("cuda", "cpu") or sizes not in IMAGES:
        sys.exit(f"error: device={device} sizes={sizes}: give device=cuda or cpu, and sizes=full or tiny.")
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: device=cuda, but torch sees no GPU here. Give device=cpu sizes=tiny to try the code.")
    torch.manual_seed(0)
    check = Check(
        device, sizes, Path(known["out"]) if known["out"] else None, time.monotonic() + 60 * float(known["minutes"])
    )
    print(f"{check.title()}\n\n{HEAD}", flush=True)
    check_mdlm(check)
    with tempfile.TemporaryDirectory() as folder:
        check_eddm(check, Path(folder))


if __name__ == "__main__":
    main()
