"""Fixed questions, texts and images, and what a model says about them: the numbers that a proof compares.

Shapes: Q questions, V tokens, N prompts, M side of the mask logits, H×W native pixels.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from data.ddqa.compose import FIXED_PROMPT, FREE_PROMPT
from data.ddqa.tasks import AD_OPTIONS, Task, format_prompt
from data.sample import ImageArray
from data.tiny.scenes import make_scene
from data.training.grounding import GroundingItem, build_prompt
from models.chat.protocol import ChatRequest
from models.mdlm.model import MDLM

QUESTIONS = (format_prompt(Task.AD, AD_OPTIONS), format_prompt(Task.DFM), FREE_PROMPT)
TEXTS = (
    build_prompt(FREE_PROMPT, "There is a scratch at the top left."),
    build_prompt(FREE_PROMPT, "There is no visible defect."),
    build_prompt(FIXED_PROMPT),
)
LOGITS = "next-token logits"


def probe_images() -> list[ImageArray]:
    """Three generated scenes: a square one, a wide one, a tall one."""
    scenes = [make_scene(np.random.default_rng(seed), 128, marks=1).image for seed in range(3)]
    return [scenes[0], scenes[1][:80], scenes[2][:, :72]]


@torch.inference_mode()
def probe_mdlm(model: MDLM) -> dict[str, Tensor]:
    """Mask logits (N, M, M) before the sigmoid, and the anomaly maps (H, W) of all images."""
    assert model.processor is not None
    images = probe_images()
    items = [GroundingItem("", image, [text], []) for image, text in zip(images, TEXTS, strict=True)]
    with model.placement.autocast():
        logits = model.eval()(model.processor.collate(items).to(model.placement.device)).float().cpu()
    maps = [torch.from_numpy(prediction.anomaly_map) for prediction in model.predict(images, TEXTS)]
    return {"mask logits": logits} | {f"anomaly map {index}": one for index, one in enumerate(maps)}


def load_processor(folder: Path) -> Any:
    """Transformers' own processor of a checkpoint that runs no code."""
    from transformers import AutoProcessor  # slow to import

    return AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


@torch.inference_mode()
def probe_eddm(model: Any, processor: Any) -> dict[str, Tensor]:
    """Next-token logits (Q, V) of a model of transformers, asked through its own processor.

    Args:
        model: Vision-language model, with a PEFT adapter or without.
        processor: Its `AutoProcessor`.
    """
    rows = []
    for image, question in zip(probe_images(), QUESTIONS, strict=True):
        content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(model.device, dtype=model.dtype)
        rows.append(model.eval()(**inputs).logits[0, -1].float().cpu())
    return {LOGITS: torch.stack(rows)}


def probe_chat(chat: Any) -> dict[str, Tensor]:
    """As `probe_eddm`, for a model whose code comes with its weights, which only ms-swift knows how to ask.

    Args:
        chat: A chat model with its `model`; the logits are read where its language head returns them.
    """
    rows: list[Tensor] = []
    hook = chat.model.get_output_embeddings().register_forward_hook(
        lambda module, inputs, output: rows.append(output[0, -1].float().cpu())
    )
    first = []
    with TemporaryDirectory() as folder:
        for path, question in zip(write_images(Path(folder)), QUESTIONS, strict=True):
            first.append(len(rows))
            chat.chat([ChatRequest(path, question, 1)])
    hook.remove()
    return {LOGITS: torch.stack([rows[index] for index in first])}


def write_images(folder: Path) -> list[Path]:
    """Writes the images of the probe as PNGs."""
    paths = [folder / f"{index}.png" for index in range(len(QUESTIONS))]
    for path, image in zip(paths, probe_images(), strict=True):
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return paths
