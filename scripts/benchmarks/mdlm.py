"""python -m scripts.benchmarks.mdlm [sizes=tiny,middle] [steps=4] [images=N]: MDLM samples a second.

Trains two copies of one randomly initialised MDLM on the same batches, a step each in turn:
- plain: a LISA-style step. Stock SAM embeds one image at a time, DAM and decoder run image by image, LLaVA evaluates
  `lm_head` on all tokens and keeps all hidden states.
- ours: as `train.mdlm.train` does it.
Collating (resizing, tokenising) counts on both sides. SAM's share of the plain step's time is printed. Sizes:
- tiny: the tiny preset's, with its batch of 8. Overheads matter here, and batching saves them.
- middle: SAM at 512² and a language model of 10 M. Half of SAM's layers are global, as 1024 cells stand for ViT-H's
  4096. Arithmetic rules here, and batching saves none of it. By FLOPs ViT-H is 25 % of a 7B LoRA step at one tile; here
  the share is larger.

`scripts.benchmarks.gpu_check` measures the full size on a GPU.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from data.training.grounding import GroundingItem
from models.mdlm.llava import LlavaConfig, add_seg_token
from models.mdlm.model import MDLM, MDLMConfig, build_mdlm, build_processor
from models.mdlm.preprocess import normalise_for_tower
from models.mdlm.processor import GroundingBatch
from models.mdlm.sam import Sam, SamAttention, SamConfig
from models.tiny.llava_sam import TinyLlavaConfig, build_tiny_llava, build_tiny_tokenizer
from scripts.benchmarks.words import read_words
from scripts.command import compose_config
from train.engine.optim import OptimConfig, build_optimizer
from train.mdlm.config import TrainMDLMConfig
from train.mdlm.losses import LossConfig, mask_loss
from train.tiny.config import TinyBaseConfig

TARGETS = {"ours": 1.4}
TEXT = (
    "Segment the defect in this image of an industrial product. The image shows a metal washer on a dark surface. "
    "There is a thin scratch near the top left of the washer that runs across the rim, lighter than the metal there."
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the models, and of the step."""

    sam: SamConfig
    llava: TinyLlavaConfig
    images: int


MIDDLE = Sizes(
    SamConfig(image_size=512, width=256, depth=8, heads=4, global_layers=[1, 3, 5, 7], channels=128),
    TinyLlavaConfig(
        vocabulary=1024,
        width=320,
        layers=8,
        heads=5,
        mlp=864,
        tile_size=168,
        patch_size=14,
        vision_width=128,
        vision_layers=4,
    ),
    images=4,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one row a side; exit code 1 if a target is missed or the losses differ."""
    options = read_words(__doc__, {"sizes": "tiny,middle", "steps": "4", "images": ""}, arguments)
    failed = False
    for name in options["sizes"].split(","):
        sizes = {"tiny": tiny_sizes, "middle": lambda: MIDDLE}[name]()
        count = int(options["images"] or sizes.images)
        print(f"{name}: ", end="", flush=True)
        failed |= print_rows(measure(sizes, int(options["steps"]), count), count)
    sys.exit(failed)


def tiny_sizes() -> Sizes:
    """Those of the tiny preset."""
    preset = compose_config("train_mdlm", TrainMDLMConfig, ["preset=tiny", "run_dir=unused"])
    base = compose_config("train_tiny_base", TinyBaseConfig, ["run_dir=unused"])
    return Sizes(preset.mdlm.sam, base.mdlm.llava, preset.loop.batch_size)


def print_rows(rows: dict[str, tuple[np.ndarray, np.ndarray]], images: int) -> bool:
    """The table of one size; whether a target is missed or the losses differ."""
    print(f"{'':<16}{'samples/s':>10}{'ratio':>8}{'(CPU)':>8}{'target':>8}  largest difference in loss")
    plain_loss, plain_times = rows["plain"]
    failed = False
    for name, (losses, times) in rows.items():
        ratio, cpu_ratio = np.median(plain_times / times, axis=0)
        difference = float(np.abs(losses / plain_loss - 1).max())
        failed |= ratio < TARGETS.get(name, 0) or difference > 0.01
        print(
            f"{name:<16}{images / np.median(times, axis=0)[0]:>10.2f}{ratio:>8.2f}{cpu_ratio:>8.2f}"
            f"{TARGETS.get(name, ''):>8}  {difference:.1e} of {plain_loss[-1]:.4f}"
        )
    print()
    return failed


def measure(sizes: Sizes, steps: int, count: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Losses (steps,) and wall and CPU seconds (steps, 2) of each side; one step before is not counted."""
    torch.manual_seed(0)
    stock = build(sizes, SamAttention.eager)
    ours = build(sizes, SamAttention.sdpa)
    ours.load_state_dict(stock.state_dict())
    sides = {"plain": stock, "ours": ours}
    optimizers = {name: build_optimizer(model.parameters(), OptimConfig(lr=3e-4)) for name, model in sides.items()}
    rows: dict[str, tuple[list[float], list[np.ndarray]]] = {name: ([], []) for name in sides}
    rng = np.random.default_rng(0)
    for step in range(steps + 1):
        items = [make_item(rng, index, sizes.sam.image_size) for index in range(count)]
        for name, model in sides.items():
            start = clock()
            batch = model.processor.collate(items)  # type: ignore[union-attr]
            logits = plain_forward(model, batch) if name == "plain" else model(batch)
            loss = mask_loss(logits, batch.masks, batch.valid, LossConfig()).total
            loss.backward()
            optimizers[name].step()
            optimizers[name].zero_grad()
            if step:
                rows[name][0].append(float(loss.detach()))
                rows[name][1].append(clock() - start)
        if step == 1:
            print_shares(stock, items, float(rows["plain"][1][0][0]))
    return {name: (np.array(losses), np.array(times)) for name, (losses, times) in rows.items()}


def plain_forward(model: MDLM, batch: GroundingBatch) -> Tensor:
    """The same function, step by step as LISA's public code runs it: mask logits (N, M, M)."""
    embeddings = torch.cat([model.sam.encode(image[None]) for image in batch.pixels])  # square images
    llava = model.llava.llava
    core = llava.model
    tower = core.vision_tower(normalise_for_tower(batch.tiles[batch.row_image]), output_hidden_states=True)
    tokens = core.multi_modal_projector(tower.hidden_states[llava.config.vision_feature_layer][:, 1:])
    output = llava(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=list(tokens))},  # type: ignore[arg-type]
        output_hidden_states=True,
        use_cache=False,
    )
    states = output.hidden_states[-1]
    is_seg = batch.input_ids == model.llava.seg_id
    is_image = batch.input_ids == llava.config.image_token_id
    after = is_image.cumsum(1) == is_image.sum(1, keepdim=True)
    text = after & ~is_image & ~is_seg & batch.attention_mask.bool()
    prompts = model.projection(states[is_seg])
    decoder: Any = model.sam.mask_decoder
    logits = []
    for row, image in enumerate(batch.image_index.tolist()):
        visual = embeddings[image : image + 1]
        if model.dam is not None:
            visual = model.dam(visual, model.sam.positions(), states[row : row + 1], text[row : row + 1])
        _, dense = model.sam.prompt_encoder(points=None, boxes=None, masks=None)
        masks, _ = decoder(
            image_embeddings=visual,
            image_pe=model.sam.positions(),
            sparse_prompt_embeddings=prompts[row].reshape(1, 1, -1),
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        logits.append(masks[0, 0])
    return torch.stack(logits)


def build(sizes: Sizes, attention: SamAttention) -> MDLM:
    """An MDLM with random weights; LoRA as in the paper, the mask decoder in full as in LISA."""
    config = MDLMConfig(llava=LlavaConfig(path=""), sam=replace(sizes.sam, attention=attention))
    tokenizer = build_tiny_tokenizer([TEXT] * 4, sizes.llava.vocabulary)
    llava = build_tiny_llava(sizes.llava, tokenizer, seed=0)
    seg_id = add_seg_token(llava, tokenizer)
    sam = Sam(config.sam)
    return build_mdlm(llava, seg_id, sam, config, build_processor(llava, tokenizer, sam, config.llava)).train()


def make_item(rng: np.random.Generator, index: int, size: int) -> GroundingItem:
    """A noisy image with a rectangular defect."""
    image = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    mask = np.zeros((size, size), bool)
    top, left = rng.integers(0, 3 * size // 4, 2)
    mask[top : top + size // 6, left : left + size // 8] = True
    return GroundingItem(str(index), image, [TEXT], [mask])


def print_shares(model: MDLM, items: list[GroundingItem], step: float) -> None:
    """What the sizes are, and how the plain step's time divides."""
    batch = model.processor.collate(items)  # type: ignore[union-attr]
    start = time.perf_counter()
    with torch.no_grad():
        for image in batch.pixels:
            model.sam.encode(image[None])
    share = (time.perf_counter() - start) / step
    parts = [("SAM encoder", model.sam.image_encoder), ("language model", model.llava.llava.model.language_model)]
    sizes = ", ".join(f"{name} {sum(p.numel() for p in part.parameters()) / 1e6:.1f} M" for name, part in parts)
    print(
        f"{sizes}; {len(items)} images a step, {batch.input_ids.shape[1]} tokens each, {torch.get_num_threads()} thread"
    )
    print(f"SAM's encoder takes {share:.0%} of the plain step")


def clock() -> np.ndarray:
    """Wall time and this process's CPU time, seconds; the ratio of the latter bears a busy machine."""
    return np.array([time.perf_counter(), time.process_time()])


if __name__ == "__main__":
    main()
