import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest

from data.errors import UserError
from data.files import hash_file, read_json, write_json
from models.experts.anomalib.maps import ExportConfig, export_maps
from models.experts.clip.backbone import ClipConfig
from tests.models.experts.clip.conftest import TINY, write_weights


def make_config(root: Path, out: Path, **changes: object) -> ExportConfig:
    values = {"model": "Padim", "dataset": "mvtec_ad", "data_root": str(root), "out": str(out)}
    options = {"backbone": "resnet18", "layers": ["layer1"], "pre_trained": False, "n_features": 8}
    return ExportConfig(**{**values, "options": options, **changes})  # type: ignore[arg-type]


def test_a_fitted_model_writes_a_map_for_each_image(write_mvtec, tmp_path: Path) -> None:
    pytest.importorskip(
        "anomalib", reason="anomalib is not installed: pip install -r scripts/requirements/anomalib.txt"
    )
    root, out = write_mvtec(normals=4), tmp_path / "maps"
    export_maps(make_config(root, out))
    images = sorted(root.glob("*/test/*/*.png"))
    maps = sorted(out.rglob("*.npy"))
    assert [path.relative_to(out).with_suffix("") for path in maps] == [
        path.relative_to(root).with_suffix("") for path in images
    ]
    first = np.load(maps[0])
    assert first.shape == (48, 64) and first.dtype == np.float32 and np.ptp(first) > 0
    before = maps[0].stat().st_mtime_ns
    maps[1].unlink()
    export_maps(make_config(root, out))
    assert maps[0].stat().st_mtime_ns == before and maps[1].is_file()
    with pytest.raises(UserError, match="other settings"):
        export_maps(make_config(root, out, seed=1))
    with pytest.raises(UserError, match="no model 'Nothing'"):
        export_maps(make_config(root, tmp_path / "other", model="Nothing"))


@pytest.fixture
def clip_checkpoint(tmp_path: Path) -> Path:
    """A small CLIP of the true classes, which open_clip then knows as `tiny-clip`."""
    (tmp_path / "tiny-clip.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    return Path(write_weights("tiny-clip", tmp_path / "clip.safetensors"))


def test_maps_of_an_expert_tell_with_which_weights_they_were_made(
    write_mvtec, clip_checkpoint: Path, tmp_path: Path
) -> None:
    root, out = write_mvtec(), tmp_path / "maps"
    clip = ClipConfig(model="tiny-clip", checkpoint=str(clip_checkpoint), device="cpu")
    config = make_config(root, out, model="", options={}, expert="anoclip", clip=clip)
    export_maps(config)
    told = read_json(out / "maps.json")
    assert told["expert"] == "anoclip" and told["shots"] == 0 and "Without adaptation" in told["setting"]
    digest = hash_file(clip_checkpoint)
    assert told["weights"] == [{"file": clip_checkpoint.name, "sha256": digest, "checkpoint": "", "published": False}]
    write_json(out / "maps.json", {key: value for key, value in told.items() if key not in ("setting", "weights")})
    export_maps(config)  # an older file, which told less, is completed
    assert read_json(out / "maps.json") == told
    with pytest.raises(UserError, match="other settings"):
        export_maps(replace(config, clip=replace(clip, image_size=96)))


def test_without_anomalib_the_message_says_how_to_get_it(write_mvtec, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "anomalib.models", None)
    with pytest.raises(UserError, match=r"anomalib\.txt"):
        export_maps(make_config(write_mvtec(), tmp_path / "maps"))
    assert read_json(tmp_path / "maps" / "maps.json")["model"] == "Padim"
