import logging
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import UserError
from models.mdlm.embedding_cache import CacheConfig, EmbeddingCache, complete, name_space, open_cache
from models.mdlm.model import MDLM
from models.mdlm.sam import Sam
from models.mdlm.sam_lora import SamLora, add_sam_lora
from tests.models.conftest import make_mdlm, tiny_sam_config  # type: ignore[import-not-found]

SHAPE = (4, 3, 3)


def embedding(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float16)


def fill(folder: Path, limit: int) -> None:
    """What each of several processes does: all of them write the same entries."""
    cache = EmbeddingCache(folder, "space", limit=limit)
    for seed in range(40):
        cache.put(f"{seed:040x}", embedding(seed))


def test_reads_back_what_was_written_memory_mapped(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "space", limit=10**6)
    assert cache.get("ab" * 20) is None
    cache.put("ab" * 20, embedding(0))
    read = EmbeddingCache(tmp_path, "space", limit=10**6).get("ab" * 20)
    assert isinstance(read, np.memmap) and read.dtype == np.float16
    np.testing.assert_array_equal(read, embedding(0))
    assert EmbeddingCache(tmp_path, "other", limit=10**6).get("ab" * 20) is None


def test_processes_write_every_entry_once_and_keep_the_limit(tmp_path: Path) -> None:
    size = len(_file_bytes(tmp_path / "probe"))
    folder = tmp_path / "cache"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=fill, args=(folder, 25 * size)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    entries = list(folder.rglob("*.npy"))
    assert len(entries) == 25
    assert int((folder / "usage").read_text()) == 25 * size == sum(path.stat().st_size for path in entries)
    for path in entries:
        np.testing.assert_array_equal(np.load(path), embedding(int(path.stem, 16)))
    assert not list(folder.rglob("*.partial"))


def _file_bytes(folder: Path) -> bytes:
    EmbeddingCache(folder, "space", limit=10**6).put("00", embedding(0))
    return next(folder.rglob("*.npy")).read_bytes()


def test_a_full_cache_says_so_once_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = EmbeddingCache(tmp_path, "space", limit=250)
    with caplog.at_level(logging.WARNING):
        for seed in range(4):
            cache.put(f"{seed:040x}", embedding(seed))
    assert len(list(tmp_path.rglob("*.npy"))) == 1
    assert caplog.text.count("has reached its limit") == 1 and "Raise cache.gib" in caplog.text


def test_partial_and_damaged_entries_are_never_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = EmbeddingCache(tmp_path, "space", limit=10**6)
    cache.put("ab" * 20, embedding(0))
    (path,) = tmp_path.rglob("*.npy")
    content = path.read_bytes()
    old, young = path.with_name(".old.partial"), path.with_name(".young.partial")
    for partial in (old, young):
        partial.write_bytes(content[:50])
    os.utime(old, (time.time() - 7200,) * 2)
    path.write_bytes(content[: len(content) // 2])
    cache = EmbeddingCache(tmp_path, "space", limit=10**6)
    assert not old.exists() and young.exists()
    with caplog.at_level(logging.WARNING):
        assert cache.get("ab" * 20) is None
    assert "damaged" in caplog.text
    cache.put("ab" * 20, embedding(0))
    np.testing.assert_array_equal(cache.get("ab" * 20), embedding(0))


def test_a_pixel_the_weights_and_the_size_make_another_entry(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "space", limit=10**6)
    image = np.zeros((4, 6, 3), np.uint8)
    changed = image.copy()
    changed[0, 0, 0] = 1
    assert cache.key(image) == cache.key(image.copy())
    assert len({cache.key(one) for one in (image, changed, image.reshape(6, 4, 3))}) == 3
    torch.manual_seed(0)
    sam = Sam(tiny_sam_config())
    names = {name_space(sam)}
    sam.image_size = 32
    names.add(name_space(sam))
    with torch.no_grad():
        sam.image_encoder.pos_embed[0, 0, 0, 0] += 1  # type: ignore[index, operator]
    names.add(name_space(sam))
    sam.mask_decoder.requires_grad_(False).iou_token.weight.add_(1)  # the decoder does not count
    names.add(name_space(sam))
    assert len(names) == 3


def test_an_encoder_that_learns_is_refused(tmp_path: Path) -> None:
    sam = Sam(tiny_sam_config()).requires_grad_(False)
    config = CacheConfig(path=str(tmp_path / "cache"))
    open_cache(config, sam, SamLora.decoder)
    add_sam_lora(sam, SamLora.encoder, rank=2, alpha=2, dropout=0.0)
    with pytest.raises(UserError, match="cache=null"):
        open_cache(config, sam, SamLora.none)


def test_what_float16_cannot_hold_is_an_error(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "space", limit=10**6)
    with pytest.raises(UserError, match="float16"):
        complete(["a"], torch.tensor([False]), torch.zeros(0), lambda: torch.full((1, *SHAPE), 1e9), cache)


def test_predictions_from_the_cache_are_those_without(
    tmp_path: Path, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    model: MDLM = make_mdlm(None)
    texts = ["a dent", "a scratch", "nothing"]
    plain = model.predict(images, texts)
    model.use_cache(open_cache(CacheConfig(path=str(tmp_path)), model.sam, SamLora.none))
    model.predict(images[1:2], texts[:1])  # one of three is there already
    fresh = model.predict(images, texts)
    monkeypatch.setattr(Sam, "encode", lambda *_: pytest.fail("everything is in the cache"))
    again = model.predict(images, texts)
    for one, two, three in zip(plain, fresh, again, strict=True):
        np.testing.assert_allclose(one.anomaly_map, two.anomaly_map, atol=2e-3)
        np.testing.assert_array_equal(two.anomaly_map, three.anomaly_map)
