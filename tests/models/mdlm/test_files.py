import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data.errors import UserError
from data.files import read_json, write_json
from data.run import Run
from models.mdlm.files import load_adapter, load_mdlm, save_adapter
from models.mdlm.model import MDLM, MDLMConfig, create_mdlm
from models.mdlm.sam_lora import SamLora


def trained(config: MDLMConfig) -> MDLM:
    """As after training: every trainable parameter has moved."""
    model = create_mdlm(config).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def save(model: MDLM, config: MDLMConfig, folder: Path) -> None:
    assert model.processor is not None
    save_adapter(model, model.processor.tokenizer, config, folder)


def test_a_moved_run_loads_to_the_same_predictions(
    tmp_path: Path, base_config: MDLMConfig, images: list[np.ndarray]
) -> None:
    model = trained(base_config)
    texts = ["a dent", "a scratch", "nothing"]
    before = model.predict(images, texts)
    untrained = create_mdlm(base_config).predict(images, texts)
    assert np.abs(before[0].anomaly_map - untrained[0].anomaly_map).max() > 1e-3
    save(model, base_config, tmp_path / "mdlm" / "fixed")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "mdlm", tmp_path / "elsewhere" / "mdlm")
    loaded = load_mdlm(Run(tmp_path / "elsewhere"), "fixed")
    for one, other in zip(before, loaded.predict(images, texts), strict=True):
        np.testing.assert_array_equal(one.anomaly_map, other.anomaly_map)
        assert one.score == other.score
    text = (tmp_path / "elsewhere/mdlm/fixed/adapter/adapter_config.json").read_text()
    assert str(tmp_path) not in text


@pytest.mark.parametrize("part", [SamLora.decoder, SamLora.encoder])
def test_lora_in_sam_is_saved_and_loaded(
    tmp_path: Path, base_config: MDLMConfig, images: list[np.ndarray], part: SamLora
) -> None:
    config = replace(base_config, sam_lora=part, train_mask_decoder=False)
    model = trained(config)
    before = model.predict(images[:1], ["a dent"])
    save(model, config, tmp_path / "mdlm" / "fixed")
    heads = load_file(tmp_path / "mdlm" / "fixed" / "heads.safetensors")
    assert any("lora_" in name for name in heads) and not any("base_layer" in name for name in heads)
    (after,) = load_mdlm(Run(tmp_path), "fixed").predict(images[:1], ["a dent"])
    np.testing.assert_array_equal(before[0].anomaly_map, after.anomaly_map)


def test_a_pickled_adapter_is_not_loaded(tmp_path: Path, base_config: MDLMConfig) -> None:
    folder = tmp_path / "mdlm" / "fixed"
    save(trained(base_config), base_config, folder)
    weights = folder / "adapter" / "adapter_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))  # what PEFT would take in its place
    weights.unlink()
    with pytest.raises(UserError, match=r"adapter_model\.bin is a pickle"):
        load_adapter(folder)


@pytest.mark.parametrize("name", ["heads.safetensors", "adapter/adapter_model.safetensors"])
def test_damaged_parts_are_named(tmp_path: Path, base_config: MDLMConfig, name: str) -> None:
    folder = tmp_path / "mdlm" / "fixed"
    save(trained(base_config), base_config, folder)
    (folder / name).write_bytes((folder / name).read_bytes()[:-8])
    with pytest.raises(UserError, match=r"The MDLM at .*fixed does not load"):
        load_adapter(folder)
    torch.save({}, folder / name)
    with pytest.raises(UserError, match=r"does not load: .*damaged|is a pickle"):
        load_adapter(folder)


def test_no_pickle_is_written(tmp_path: Path, base_config: MDLMConfig) -> None:
    save(trained(base_config), base_config, tmp_path / "out")
    suffixes = {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".md", ".jinja"}


def test_weights_have_the_permissions_of_any_other_file(tmp_path: Path, base_config: MDLMConfig) -> None:
    save(trained(base_config), base_config, tmp_path / "trained")
    (tmp_path / "any").touch()
    modes = {path.stat().st_mode for path in (tmp_path / "trained").rglob("*") if path.is_file()}
    assert modes == {(tmp_path / "any").stat().st_mode}


def test_bad_directories_are_user_errors(tmp_path: Path, base_config: MDLMConfig) -> None:
    with pytest.raises(UserError, match=r"No trained MDLM at .*eddm"):
        load_mdlm(Run(tmp_path), "eddm")
    folder = tmp_path / "mdlm" / "eddm"
    save(trained(base_config), base_config, folder)
    manifest = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", manifest | {"format": 99})
    with pytest.raises(UserError, match="format 99"):
        load_adapter(folder)
    write_json(folder / "manifest.json", manifest)
    (folder / "heads.safetensors").unlink()
    with pytest.raises(UserError, match="does not load"):
        load_adapter(folder)
    shutil.rmtree(tmp_path / "mdlm" / "base")
    with pytest.raises(UserError, match=r"No checkpoint at .*llava"):
        load_adapter(folder)
