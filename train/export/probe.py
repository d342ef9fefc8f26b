"""Fixed questions, texts and images, and what a model says about them: the numbers that a proof compares.

Shapes: Q questions, V tokens, N prompts, M side of the mask logits, H×W native pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from models.chat.protocol import ChatModel, ChatRequest
from models.mdlm.model import MDLM

QUESTIONS = (format_prompt(Task.AD, AD_OPTIONS), format_prompt(Task.DFM), FREE_PROMPT)
TEXTS = (
    build_prompt(FREE_PROMPT, "There is a scratch at the top left."),
    build_prompt(FREE_PROMPT, "There is no visible defect."),
    build_prompt(FIXED_PROMPT),
)


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
    device = next(model.projection.parameters()).device
    found = {"mask logits": model.eval()(model.processor.collate(items).to(device)).float().cpu()}
    for index, prediction in enumerate(model.predict(images, TEXTS)):
        found[f"anomaly map {index}"] = torch.from_numpy(prediction.anomaly_map)
    return found


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
    return {"next-token logits": torch.stack(rows)}


def probe_chat(chat: ChatModel, model: Any) -> dict[str, Tensor]:
    """As `probe_eddm`, for a model whose code comes with its weights: asked through ms-swift.

    Args:
        chat: Asks.
        model: The model behind it; the logits are read where its language head returns them.
    """
    rows: list[Tensor] = []

    def keep(module: Any, inputs: Any, output: Tensor) -> None:
        rows.append(output[0, -1].float().cpu())

    found: list[Tensor] = []
    with TemporaryDirectory() as folder:
        for index, path in enumerate(write_images(Path(folder))):
            hook = model.get_output_embeddings().register_forward_hook(keep)
            try:
                chat.chat([ChatRequest(path, QUESTIONS[index], 1)])
            finally:
                hook.remove()
            found.append(rows[0])
            rows.clear()
    return {"next-token logits": torch.stack(found)}


def write_images(folder: Path) -> Sequence[Path]:
    """Writes the images of the probe as PNGs."""
    paths = [folder / f"{index}.png" for index in range(len(QUESTIONS))]
    for path, image in zip(paths, probe_images(), strict=True):
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return paths
