"""SAM's image embeddings on disk: a frozen encoder gives the same ones in every epoch, run and evaluation.

    CACHE/<space>/<first two digits>/<image>.npy    one embedding, float16, (C, E, E): 2 MiB for ViT-H
    CACHE/usage                                     bytes in use, under a lock

`<space>` is a hash of the encoder's weights and of what is done to an image before it, `<image>` one of its pixels: a
changed image, checkpoint or size is another entry, never a wrong one. Any number of processes may share a cache: an
entry appears by an atomic rename, so a partial one is never read, and the first writer wins. When the cache is full,
embeddings that are not in it are computed anew each time.

What the model sees is rounded to float16 whether it was just computed or read back, so both give the same numbers. (How
an encoder's batch is composed may still change its last bits, as it does without a cache.)
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.errors import UserError
from data.files import hash_value, make_dir
from data.sample import ImageArray
from models.mdlm.sam import SAM_MEAN, SAM_STD, Sam
from models.mdlm.sam_lora import SamLora

log = logging.getLogger(__name__)

Embedding = NDArray[np.float16]
USAGE = "usage"
ABANDONED = 3600.0  # seconds


@dataclass(kw_only=True, slots=True)
class CacheConfig:
    """Where embeddings are kept.

    Attributes:
        path: Directory, created if missing; several runs may share it.
        gib: Largest size of everything in it, in GiB; 2 MiB an image for ViT-H.
    """

    path: str
    gib: float = 50.0


class EmbeddingCache:
    """Reads and writes the embeddings of one encoder."""

    def __init__(self, folder: Path, space: str, *, limit: int) -> None:
        """Opens a cache.

        Args:
            folder: Directory of all encoders' embeddings.
            space: Names the encoder and its preprocessing, see `name_space`.
            limit: Largest size of the directory, in bytes.
        """
        self._root = folder
        self._folder = folder / space
        self._limit = limit
        self._full = False
        make_dir(self._folder)
        self._recount()

    def key(self, image: ImageArray) -> str:
        """Names an image by its pixels, as they come to the encoder's preprocessing; (H, W, 3) uint8."""
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=20)
        digest.update(repr(image.shape).encode())
        return digest.hexdigest()

    def get(self, key: str) -> Embedding | None:
        """The embedding, memory-mapped, (C, E, E); None if it is not there.

        An entry that is no embedding, such as one truncated by a full disk, is removed and counts as missing.
        """
        path = self._path(key)
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            return None
        except (ValueError, EOFError):
            log.warning("Embedding cache: %s is damaged; it will be computed again.", path)
            path.unlink(missing_ok=True)
            return None

    def put(self, key: str, embedding: Embedding) -> None:
        """Stores an embedding, unless another process did, or the cache is full."""
        path = self._path(key)
        if self._full or path.exists():
            return
        make_dir(path.parent)
        partial = path.with_name(f".{uuid.uuid4().hex}.partial")  # with ordinary permissions, unlike mkstemp
        try:
            with partial.open("xb") as file:
                np.save(file, embedding, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            self._publish(partial, path, partial.stat().st_size)
        finally:
            partial.unlink(missing_ok=True)

    def _publish(self, partial: Path, path: Path, size: int) -> None:
        """Renames a complete file under the lock that guards the size."""
        with self._usage() as (used, write):
            if path.exists():
                return
            if used + size > self._limit:
                self._full = True
                log.warning(
                    "Embedding cache: %s has reached its limit of %.1f GiB; further images are encoded each time. "
                    "Raise cache.gib, or delete embeddings of other encoders there.",
                    self._root,
                    self._limit / 2**30,
                )
                return
            partial.rename(path)
            write(used + size)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.npy"

    def _recount(self) -> None:
        """Measures what is there: a process that died between a rename and its count leaves the count too low.

        What a killed process left half-written goes after an hour.
        """
        for partial in self._root.rglob(".*.partial"):
            with suppress(FileNotFoundError):
                if time.time() - partial.stat().st_mtime > ABANDONED:
                    partial.unlink()
        with self._usage() as (_, write):
            write(sum(path.stat().st_size for path in self._root.rglob("*.npy")))

    @contextmanager
    def _usage(self) -> Iterator[tuple[int, Callable[[int], None]]]:
        """Bytes in use and a function that replaces them, while no other process can."""
        with (self._root / USAGE).open("a+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read().strip()

            def write(used: int) -> None:
                file.seek(0)
                file.truncate()
                file.write(str(used))
                file.flush()

            yield int(text) if text.isdigit() else 0, write


def open_cache(config: CacheConfig, sam: Sam, lora: SamLora) -> EmbeddingCache:
    """Opens the cache of a frozen encoder.

    Raises:
        UserError: If the encoder learns.
    """
    if lora is SamLora.encoder or any(p.requires_grad for p in sam.image_encoder.parameters()):
        raise UserError(
            "cache is set, but mdlm.sam_lora=encoder trains the image encoder: its embeddings change with every step. "
            "Set cache=null, or mdlm.sam_lora=decoder."
        )
    return EmbeddingCache(Path(config.path), name_space(sam), limit=int(config.gib * 2**30))


def name_space(sam: Sam) -> str:
    """Hash of the encoder's weights (not of their file: Meta's and transformers' files agree) and of the input size."""
    digest = hashlib.sha256()
    for name, value in sorted(sam.image_encoder.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    preprocessing = {"size": sam.image_size, "mean": SAM_MEAN, "std": SAM_STD, "resize": "cv2 area or linear, padded"}
    return hash_value([digest.hexdigest(), preprocessing])[:24]


def complete(
    keys: list[str], found: Tensor, stored: Tensor, encode: Callable[[], Tensor], cache: EmbeddingCache
) -> Tensor:
    """Puts stored embeddings and new ones together, and stores the new ones.

    Args:
        keys: Names of the I images.
        found: (I,) bool, True where the embedding was stored.
        stored: (F, C, E, E) float16, the stored embeddings, in order.
        encode: Computes those of the I − F others, in order.
        cache: Where the new ones go.

    Returns:
        (I, C, E, E) float16.

    Raises:
        UserError: If an embedding does not fit into float16.
    """
    if bool(found.all()):
        return stored
    fresh = encode().detach().half()
    if not bool(fresh.isfinite().all()):
        raise UserError("An image embedding exceeds what float16 holds: set cache=null for this SAM checkpoint.")
    missing = [key for key, there in zip(keys, found.tolist(), strict=True) if not there]
    for key, embedding in zip(missing, fresh.cpu().numpy(), strict=True):
        cache.put(key, embedding)
    together = torch.empty(len(keys), *fresh.shape[1:], dtype=torch.float16, device=fresh.device)
    together[~found] = fresh
    if bool(found.any()):
        together[found] = stored
    return together
