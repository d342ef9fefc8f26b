from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from data.files import hash_file
from models.weights import published
from models.weights.published import published_hash, tell_files
from models.weights.table import checkpoints

PLUS = checkpoints()["clip-vit-b-16-plus-240"]


def test_a_file_is_known_by_its_publishers_hash(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / PLUS.file
    torch.save({"a": torch.ones(2)}, path)
    (used,) = tell_files(path)
    assert (used.file, used.checkpoint, used.published) == (PLUS.file, PLUS.name, False)  # the name proves nothing
    same = replace(PLUS, sha256=hash_file(path)[:8])
    monkeypatch.setattr(published, "find_checkpoint", lambda place: same)
    assert tell_files(path)[0].published
    assert tell_files(path)[0].to_json()["sha256"] == hash_file(path)


def test_a_file_in_the_hubs_cache_is_known_by_the_hash_that_it_was_sent_under(tmp_path: Path) -> None:
    repository = tmp_path / "models--timm--vit_base_patch16_plus_clip_240.laion400m_e31"
    snapshot = repository / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    blob = (tmp_path / "w.safetensors").rename(repository / "blobs" / hash_file(tmp_path / "w.safetensors"))
    link = snapshot / "open_clip_model.safetensors"
    link.symlink_to(blob)
    assert published_hash(link, PLUS) == blob.name
    assert [(used.checkpoint, used.published) for used in tell_files(link)] == [(PLUS.name, True)]
    blob.write_bytes(blob.read_bytes() + b"x")
    assert not tell_files(link)[0].published
    other = tmp_path / "open_clip_model.safetensors"  # of no hub
    save_file({"a": torch.ones(2)}, other)
    assert published_hash(other, PLUS) is None and tell_files(other)[0].checkpoint == ""
