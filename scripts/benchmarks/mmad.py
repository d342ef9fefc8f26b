"""python -m scripts.benchmarks.mmad [images=8] [rounds=3]: MMAD questions a second, ours against one generate each.

Both sides run the same randomly initialised MiniCPM-V 4.6 (56 million parameters, 1024 patches and 64 visual
tokens an image, as the real one has per tile), 5 questions an image, CPU, float32, and the same fast vision tower, so
that only the reuse differs, on one thread. The other side encodes the images anew and generates one token for every
question. The token-count bound is what reuse can give at most if every token costs the same: tokens through the vision
tower and the language model, theirs over ours. Exit code 1 where the ratio of CPU times, which bears a busy machine, is
below the project's share of the bound, or an answer differs.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from data.mmad import LETTERS, Question
from data.sample import load_image
from eval.mmad.prompt import WordingConfig, format_question
from models.chat.letters import PackedScorer, read_letters
from models.chat.local import TransformersChat
from models.chat.protocol import ChatRequest
from models.tiny.batched_vision import batched_vision
from models.tiny.minicpmv import (
    TinyMiniCPMVConfig,
    build_model,
    build_processor,
    build_tokenizer,
    save_checkpoint,
)
from scripts.benchmarks.words import read_words

HEADS = [("theirs q/s", 11), ("ours q/s", 11), ("ratio", 8), ("(CPU)", 8), ("bound", 8), ("of it", 8), ("target", 8)]
TARGET = 0.85  # of the bound
SIZES = TinyMiniCPMVConfig(
    image_size=448,
    patch_size=14,
    vision_hidden=384,
    vision_layers=8,
    vision_heads=6,
    vision_intermediate=1536,
    insert_layer=1,
    text_hidden=512,
    text_layers=8,
    text_heads=8,
    text_intermediate=1536,
    vocab_size=4096,
)
WORDING = WordingConfig(
    name="eiad",
    question="{question}\n{options}Answer with the option's letter from the given choices directly.",
    templates="Normal sample:",
    query="The image to inspect:",
)
QUESTIONS = [
    ("Is there any defect in the object?", "Yes.", "No."),
    ("What is the type of the defect?", "Scratch.", "Contamination.", "Broken edge.", "Deformation."),
    ("Where is the defect?", "Top left.", "Bottom right.", "In the center.", "Along the rim."),
    ("What does the defect look like?", "A thin line.", "A dark spot.", "A missing piece.", "A bulge."),
    ("What effect may the defect have?", "It may leak.", "None.", "It looks worn.", "It may break."),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one row a setting."""
    options = read_words(__doc__, {"images": "8", "rounds": "3"}, arguments)
    images, rounds = int(options["images"]), int(options["rounds"])
    torch.set_num_threads(1)
    missed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chat = make_chat(folder / "model")
        paths = [write_image(folder / f"{index}.png", index) for index in range(2 * images)]
        count = sum(parameter.numel() for parameter in chat.model.parameters())
        print(f"{count / 1e6:.1f} M parameters, {images} images, {len(QUESTIONS)} questions each, {rounds} rounds")
        heads = "".join(f"{head:>{width}}" for head, width in HEADS)
        print(f"{'':<24}{heads}  same argmax, max logit Δ")
        shots: dict[str, list[tuple[str | Path, ...]]] = {
            "0-shot": [()] * images,
            "1-shot": [(WORDING.templates, paths[images + i], WORDING.query) for i in range(images)],
            "1-shot, one template": [(WORDING.templates, paths[-1], WORDING.query)] * images,
        }
        for setting, befores in shots.items():
            requests = [
                ChatRequest(path, prompt, 1, before)
                for path, before in zip(paths, befores, strict=False)
                for prompt in prompts()
            ]
            missed |= measure(chat, requests, rounds, setting) < TARGET
    sys.exit(missed)


def measure(chat: TransformersChat, requests: list[ChatRequest], rounds: int, setting: str) -> float:
    """Times both sides in turn and prints their row; returns the share of the bound that is reached."""
    counts = [len(question) - 1 for _ in range(len(requests) // len(QUESTIONS)) for question in QUESTIONS]
    letters = PackedScorer(chat).letters
    theirs, ours = [], []
    for _ in range(rounds):
        start = clock()
        expected = [generate(chat, request) for request in requests]
        theirs.append(clock() - start)
        chat.forget()
        start = clock()
        found = PackedScorer(chat).score(requests, counts)
        ours.append(clock() - start)
    differences, same = [], True
    for scores, logits in zip(found, expected, strict=True):
        reference = read_letters(logits, letters, len(scores))
        differences.append(max(abs(a - b) for a, b in zip(scores, reference, strict=True)))
        same &= np.argmax(scores) == np.argmax(reference)
    ratio, cpu_ratio = np.median(np.array(theirs) / np.array(ours), axis=0)
    most = bound(chat, requests)
    speeds = [len(requests) / np.median(times, axis=0)[0] for times in (theirs, ours)]
    print(
        f"{setting:<24}{speeds[0]:>11.2f}{speeds[1]:>11.2f}{ratio:>8.2f}{cpu_ratio:>8.2f}"
        f"{most:>8.2f}{cpu_ratio / most:>8.2f}{TARGET:>8}  {same}, {max(differences):.1e}",
        flush=True,
    )
    if not same:
        sys.exit(1)
    return float(cpu_ratio / most)


def clock() -> np.ndarray:
    """Wall time and this process's CPU time, seconds; the ratio of the latter bears a busy machine."""
    return np.array([time.perf_counter(), time.process_time()])


@torch.inference_mode()
def generate(chat: TransformersChat, request: ChatRequest) -> torch.Tensor:
    """How public scripts ask: everything anew for every question. Next-token logits, (V,)."""
    text = chat.processor.apply_chat_template(request.mark(), tokenize=False, add_generation_prompt=True)
    images = [load_image(path) for path in request.images]
    inputs: Any = chat.processor(text=[text], images=images, return_tensors="pt")
    with batched_vision(chat.model):
        output = chat.model.generate(
            **inputs, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
    return output.logits[0][0]


def bound(chat: TransformersChat, requests: list[ChatRequest]) -> float:
    """Tokens through tower and language model, theirs over ours."""
    patches = (SIZES.image_size // SIZES.patch_size) ** 2
    theirs = ours = 0
    size = len(QUESTIONS)
    seen: set[Path] = set()
    for start in range(0, len(requests), size):
        some = requests[start : start + size]
        rows = [chat.processor.tokenizer(chat.expand(one), add_special_tokens=False)["input_ids"] for one in some]
        shared = next(i for i in range(len(rows[0])) if len({row[i] for row in rows}) > 1)
        theirs += sum(map(len, rows)) + patches * size * len(some[0].images)
        new = set(some[0].images) - seen
        seen |= new
        repeated = sum(chat.visual_tokens(path) for path in set(some[0].images) - new)
        ours += shared - repeated + sum(len(row) - shared for row in rows) + patches * len(new)
    return theirs / ours


def prompts() -> list[str]:
    """The questions as a model reads them."""
    return [
        format_question(Question(text=text, options=tuple(options), answer=LETTERS[0], type="Defect Analysis"), WORDING)
        for text, *options in QUESTIONS
    ]


def make_chat(folder: Path) -> TransformersChat:
    """Writes and loads the model."""
    torch.manual_seed(0)
    corpus = [*prompts(), WORDING.templates, WORDING.query, *LETTERS] * 20
    tokenizer = build_tokenizer(corpus, units=["top left"], vocab_size=SIZES.vocab_size)
    save_checkpoint(folder, build_model(SIZES, tokenizer), build_processor(SIZES, tokenizer))
    return TransformersChat(folder, None, name="benchmark", batch_size=8)


def write_image(path: Path, seed: int) -> Path:
    """A noisy image of the model's size."""
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (448, 448, 3), dtype=np.uint8))
    return path


if __name__ == "__main__":
    main()
