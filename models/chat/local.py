"""Chat with MiniCPM-V 4.6 through transformers: batched, each image encoded once however many questions it gets.

It needs one tile an image (no slicing), as in the tiny preset; otherwise use `models.chat.swift`. Replies equal those
of ms-swift's engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from data.content import hash_files
from data.errors import UserError
from data.parallel import Ahead
from data.sample import load_image
from models.chat.answers import strip_thinking
from models.chat.config import GREEDY, say_penalty
from models.chat.protocol import ChatRequest
from models.tiny.batched_vision import batched_vision
from models.weights.trust import admit

CACHED_IMAGES = 4096
PATCHES_AT_ONCE = 2048


class TransformersChat:
    """A `ChatModel` in this process, float32."""

    def __init__(self, base: Path, adapter: Path | None, *, name: str, batch_size: int) -> None:
        """Loads the base, and the adapter merged into it.

        Args:
            base: Checkpoint folder.
            adapter: PEFT folder; None for the base alone.
            name: Names the weights.
            batch_size: Questions a batch.

        Raises:
            UserError: If the folder holds no checkpoint of this kind, or one that runs code of its own.
        """
        base = admit(base, flag=None).place
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self.processor = AutoProcessor.from_pretrained(base, **options)
            model = AutoModelForImageTextToText.from_pretrained(
                base, dtype=torch.float32, use_safetensors=True, **options
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise UserError(
                f"No usable checkpoint at {base}: {str(error).splitlines()[0]} Train EDDM again, or fix the path."
            ) from error
        if getattr(self.processor.image_processor, "slice_mode", True):
            raise UserError(f"{base} slices its images. Set backend=swift for it.")
        if adapter is not None:
            from peft import PeftModel  # slow to import, and not needed for a base

            model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        self.model: Any = model.eval()
        say_penalty(str(base), self.model.generation_config)
        self.name, self.batch_size = name, batch_size
        self._seen: dict[str, Tensor] = {}  # by the content of the image
        self._hashes: dict[Path, str] = {}
        self._opened = Ahead(self._open)

    @torch.inference_mode()
    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Replies in the order of the requests (greedy)."""
        replies = [""] * len(requests)
        order = sorted(range(len(requests)), key=lambda index: requests[index].max_tokens)
        for indices in _chunks(order, self.batch_size):
            batch = [requests[index] for index in indices]
            self.look({path for request in batch for path in request.images})
            for index, reply in zip(indices, self._reply(batch), strict=True):
                replies[index] = reply
        return replies

    def expect(self, paths: Iterable[Path]) -> None:
        """Opens images in threads that will be asked about next."""
        self._opened.expect(dict.fromkeys(path for path in paths if self._hashes.get(path) not in self._seen))

    def _open(self, path: Path) -> tuple[Tensor, Tensor]:
        """Patches of an image and their rows and columns, as the tower takes them."""
        pixels = self.processor.image_processor([load_image(path)], return_tensors="pt")
        return pixels["pixel_values"], pixels["target_sizes"]

    def look(self, paths: set[Path]) -> None:
        """Encodes the images whose content is not in the cache."""
        hashes = hash_files(sorted(paths))
        self._hashes |= hashes
        new: dict[str, Path] = {}
        for path, digest in hashes.items():
            if digest in self._seen:
                self._seen[digest] = self._seen.pop(digest)  # what this batch needs goes last
            elif digest not in new:
                new[digest] = path
                continue
            self._opened.drop(path)
        if not new:
            return
        while len(self._seen) + len(new) > CACHED_IMAGES and self._seen:
            self._seen.pop(next(iter(self._seen)))
        patches, grids = zip(*map(self._opened.take, new.values()), strict=True)
        names = list(new)
        with batched_vision(self.model):
            for start, values, sizes in split_patches(torch.cat(patches, -1), torch.cat(grids)):
                output = self.model.model.get_image_features(values, sizes)
                self._seen.update(zip(names[start : start + len(sizes)], output.pooler_output, strict=True))

    def forget(self) -> None:
        """Drops the encoded images."""
        self._seen.clear()
        self._hashes.clear()

    def expand(self, request: ChatRequest) -> str:
        """The whole prompt, with a place for every visual token; its images must have been looked at."""
        tokenizer = self.processor.tokenizer
        mark = tokenizer.image_token
        request.refuse([mark])
        text = self.processor.apply_chat_template(request.mark(), tokenize=False, add_generation_prompt=True)
        pieces = text.split(mark)
        expanded = pieces[0]
        for path, piece in zip(request.images, pieces[1:], strict=True):
            expanded += tokenizer.image_start_token + mark * self.visual_tokens(path)
            expanded += tokenizer.image_end_token + piece
        return expanded

    def embed(self, ids: Tensor, images: Sequence[Path]) -> Tensor:
        """Embeddings of token ids (B, L) → (B, L, D), with the images' visual tokens in their places, in order."""
        embedded = self.model.get_input_embeddings()(ids)
        if not images:
            return embedded
        where = (ids == self.processor.tokenizer.image_token_id).unsqueeze(-1)
        return embedded.masked_scatter(where, torch.cat([self._seen[self._hashes[path]] for path in images]))

    def visual_tokens(self, path: Path) -> int:
        """Number of visual tokens of an image that has been looked at."""
        return len(self._seen[self._hashes[path]])

    def content(self, path: Path) -> str:
        """Hash of an image that has been looked at, as it was then."""
        return self._hashes[path]

    def _reply(self, batch: Sequence[ChatRequest]) -> list[str]:
        tokenizer = self.processor.tokenizer
        texts = [self.expand(request) for request in batch]
        inputs = tokenizer(texts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt")
        output = self.model.generate(
            inputs_embeds=self.embed(inputs["input_ids"], [path for request in batch for path in request.images]),
            attention_mask=inputs["attention_mask"],
            max_new_tokens=max(request.max_tokens for request in batch),
            **GREEDY,
        )
        return [strip_thinking(text) for text in tokenizer.batch_decode(output, skip_special_tokens=True)]


def split_patches(values: Tensor, sizes: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Images in parts of at most `PATCHES_AT_ONCE` patches: attention over more leaves the processor's cache.

    Args:
        values: Patches of B images side by side, (1, 3, patch size, total patches · patch size).
        sizes: Rows and columns of patches of each image, (B, 2).

    Yields:
        Index of the first image of a part, its patches and its sizes; an image is never split.
    """
    counts = sizes.prod(-1).tolist()
    side = values.shape[2]
    start, first = 0, 0
    while start < len(counts):
        end, patches = start + 1, counts[start]
        while end < len(counts) and patches + counts[end] <= PATCHES_AT_ONCE:
            patches += counts[end]
            end += 1
        yield start, values[..., first * side : (first + patches) * side], sizes[start:end]
        start, first = end, first + patches


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
