"""Exports of a whole run, proven by the fresh process that they are proven by in earnest."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer, LlavaNextForConditionalGeneration

from data.errors import UserError
from data.files import read_json
from data.run import Run
from eval.inspection.config import InspectConfig
from eval.inspection.run import run_inspection
from models.device import Precision
from models.eddm.eddm import load_eddm
from models.exported import load_exported_eddm, load_exported_mdlm
from models.mdlm.files import load_mdlm
from train.export import export as exporting
from train.export import proof as proving
from train.export.config import Dtype, ExportConfig, Part
from train.export.export import export_adapter
from train.export.probe import probe_eddm, probe_images, probe_mdlm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def adapters(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapters") / "out"
    lines = export_adapter(ExportConfig(run=str(run.path), out=str(out)))
    assert [line.split(":")[0] for line in lines[:-1]] == ["eddm", *["mdlm"] * 4]
    return out


@pytest.fixture(scope="session")
def merged(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("merged") / "out"
    export_adapter(ExportConfig(run=str(run.path), out=str(out), merge=True, dtype=Dtype.bfloat16, shard_gib=0.001))
    return out


def test_a_coarse_proof_compares_roughly_and_writes_the_same(adapters: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_adapter(ExportConfig(run=str(run.path), out=str(out), precision=Precision.bf16))
    for part in ("eddm/adapter/adapter_model.safetensors", "mdlm/heads.safetensors"):
        assert (out / part).read_bytes() == (adapters / part).read_bytes()
    rows, exact = read_json(out / "proof.json")["compared"], read_json(adapters / "proof.json")["compared"]
    assert all(
        row["allowed"] == pytest.approx(500 * own["allowed"], rel=0.1) for row, own in zip(rows, exact, strict=True)
    )
    assert [row["largest_value"] for row in rows] != [row["largest_value"] for row in exact]


def elsewhere(export: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(export, tmp_path / "far" / "away"))


def largest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_an_adapter_export_holds_what_was_trained_and_no_more(adapters: Path, run: Run) -> None:
    files = {path.relative_to(adapters).as_posix() for path in adapters.rglob("*") if path.is_file()}
    assert {"eddm/adapter/adapter_model.safetensors", "mdlm/heads.safetensors", "README.md", "proof.json"} <= files
    assert (adapters / "familiar.safetensors").read_bytes() == (run.path / "familiar.safetensors").read_bytes()
    assert {path.rsplit(".", 1)[-1] for path in files} <= {"safetensors", "json", "jinja", "md"}
    assert not any("llava" in path or "sam" in path or "model/" in path for path in files)
    trained = load_file(adapters / "mdlm" / "adapter" / "adapter_model.safetensors")
    assert [value.shape[0] for name, value in trained.items() if "trainable_tokens" in name] == [1]
    everything = "".join((adapters / path).read_text() for path in files if not path.endswith(".safetensors"))
    assert str(run.path) not in everything and "/secret" not in everything


def test_the_proof_is_written_down(adapters: Path, merged: Path) -> None:
    for export, limit in ((adapters, 1e-4), (merged, 0.5)):
        proof = read_json(export / "proof.json")
        assert proof["passed"] and {row["part"] for row in proof["compared"]} == {"eddm", "mdlm"}
        assert all(
            row["largest_difference"] <= row["allowed"] <= max(1, row["largest_value"]) for row in proof["compared"]
        )
        assert max(row["largest_difference"] for row in proof["compared"]) < limit


def test_a_moved_adapter_export_gives_the_runs_own_answers(adapters: Path, run: Run, tmp_path: Path) -> None:
    moved = elsewhere(adapters, tmp_path)
    bases = {"llava": str(run.mdlm / "base" / "llava"), "sam": str(run.mdlm / "base" / "sam.safetensors")}
    assert largest(probe_mdlm(load_exported_mdlm(moved / "mdlm", **bases)), probe_mdlm(load_mdlm(run, "fixed"))) == 0
    own: Any = load_eddm(run).chat
    loaded = load_exported_eddm(moved / "eddm", base=str(run.eddm / "base"))
    chat: Any = loaded.chat
    assert loaded.defects == ("dent", "scratch")
    assert largest(probe_eddm(chat.model, chat.processor), probe_eddm(own.model, own.processor)) == 0


def test_photos_are_inspected_by_either_export_as_by_the_run(
    adapters: Path, merged: Path, run: Run, tmp_path: Path
) -> None:
    for index, picture in enumerate(probe_images()):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.asarray(picture))
    bases = {"llava_base": str(run.mdlm / "base" / "llava"), "sam_base": str(run.mdlm / "base" / "sam.safetensors")}
    ways: dict[str, dict[str, str]] = {
        "run": {"run": str(run.path)},
        "adapters": {"export": str(adapters), **bases},
        "merged": {"export": str(merged)},
    }
    scores, keys = {}, set()
    for name, way in ways.items():
        config = InspectConfig(
            images=str(tmp_path / "*.png"), out=str(tmp_path / name), device="cpu", familiar=False, **way
        )
        inspection = run_inspection(config)
        scores[name] = [row.score for row in inspection.rows]
        keys.add(inspection.summary["model"])
    assert scores["adapters"] == pytest.approx(scores["run"], abs=1e-6)
    assert scores["merged"] == pytest.approx(scores["run"], abs=0.05)  # bfloat16
    assert len(keys) == 3


def test_another_base_is_refused(adapters: Path, run: Run, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run.eddm / "base", tmp_path / "base"))
    weights = load_file(other / "model.safetensors")
    name = sorted(weights)[0]
    weights[name].view(-1)[0] += 1e-3
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="holds other weights"):
        load_exported_eddm(adapters / "eddm", base=str(other))
    with pytest.raises(UserError, match="say where it is with base="):
        load_exported_eddm(adapters / "eddm")
    with pytest.raises(UserError, match="is a 'minicpmv4_6', but the adapter was trained on 'llava_next'"):
        load_exported_mdlm(adapters / "mdlm", llava=str(run.eddm / "base"), sam="x")
    with pytest.raises(UserError, match=r"sam=.*holds other weights"):
        load_exported_mdlm(
            adapters / "mdlm", llava=str(run.mdlm / "base" / "llava"), sam=str(adapters / "mdlm" / "heads.safetensors")
        )


def test_a_merged_export_needs_transformers_alone(merged: Path, run: Run, tmp_path: Path) -> None:
    moved = elsewhere(merged, tmp_path)
    shards = sorted((moved / "eddm" / "model").glob("*.safetensors"))
    assert len(shards) > 2 and all(path.stat().st_size < 2**21 for path in shards)
    assert {value.dtype for path in shards for value in load_file(path).values()} == {torch.bfloat16}
    model = AutoModelForImageTextToText.from_pretrained(moved / "eddm" / "model")
    assert model.dtype is torch.bfloat16 and not isinstance(model, PeftModel)
    processor = AutoProcessor.from_pretrained(moved / "eddm" / "model")
    own: Any = load_eddm(run).chat
    expected = probe_eddm(own.model, own.processor)
    assert 0 < largest(probe_eddm(model, processor), expected) < 0.5
    base: Any = load_eddm(run, use_adapter=False).chat
    assert largest(probe_eddm(base.model, base.processor), expected) > 0.5  # what losing the adapter would look like

    path = moved / "mdlm" / "llava"
    llava = LlavaNextForConditionalGeneration.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    seg_id = tokenizer.convert_tokens_to_ids("[SEG]")
    assert tokenizer("[SEG]", add_special_tokens=False)["input_ids"] == [seg_id]
    trained = load_mdlm(run, "fixed")
    row = trained.llava.model.merge_and_unload().get_input_embeddings().weight[seg_id]  # type: ignore[operator, union-attr]
    untrained = LlavaNextForConditionalGeneration.from_pretrained(run.mdlm / "base" / "llava")
    assert torch.equal(llava.get_input_embeddings().weight[seg_id], row.to(torch.bfloat16))
    assert not torch.allclose(untrained.get_input_embeddings().weight[seg_id], row)
    whole = load_exported_mdlm(moved / "mdlm")
    assert 0 < largest(probe_mdlm(whole), probe_mdlm(load_mdlm(run, "fixed"))) < 0.2


def test_the_cards_code_runs_as_printed(adapters: Path, merged: Path, run: Run, tmp_path: Path) -> None:
    import cv2

    image = tmp_path / "photo.png"
    cv2.imwrite(str(image), probe_images()[0])
    bases = {
        "base": run.eddm / "base",
        "llava": run.mdlm / "base/llava",
        "sam.safetensors": run.mdlm / "base/sam.safetensors",
    }
    for export, blocks in ((adapters, 4), (merged, 4)):
        card = (export / "README.md").read_text()
        found = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
        assert len(found) == blocks
        for code in found:
            for printed, place in {"this/export": export, "photo.png": image, **bases}.items():
                code = code.replace(f'"/path/to/{printed}"', f'"{place}"')
            assert "/path/to" not in code
            exec(compile(code, "card", "exec"), {})


def test_the_card_tells_where_the_export_comes_from(adapters: Path, merged: Path) -> None:
    for export, library in ((adapters, "peft"), (merged, "transformers")):
        card = (export / "README.md").read_text()
        assert f"library_name: {library}" in card and "license: other" in card
        assert "| MDLM, with_eddm | pixel_auroc | 93.50 |" in card and "| EDDM | AD | 71.25 |" in card
        assert "…/mvtec" in card and "f" * 64 in card
        assert read_json(export / "mdlm" / "manifest.json")["export"]["bases"]["llava"]["weights"] in card


def test_the_card_of_a_whole_model_warns_of_the_empty_thoughts(adapters: Path, merged: Path) -> None:
    warning = "replies begin with an empty `<think>` block"
    assert warning in (merged / "README.md").read_text() and warning not in (adapters / "README.md").read_text()


def test_a_wrong_export_never_gets_its_name(make_export: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written = proving.run_fresh

    def forget_the_adapter(part: Any) -> Any:
        path = part.folder / "adapter" / "adapter_model.safetensors"
        save_file({name: torch.zeros_like(value) for name, value in load_file(path).items()}, path)
        (manifest := part.folder / "manifest.json").write_text(json.dumps(_resized(read_json(manifest), path)))
        return written(part)

    monkeypatch.setattr(proving, "run_fresh", forget_the_adapter)
    config = make_export(part=Part.eddm)
    with pytest.raises(UserError, match=r"differs from the run.*DIFFERENT"):
        export_adapter(config)
    out = Path(config.out)
    assert not out.exists()
    assert read_json(out.with_name("out.incomplete") / "proof.json")["passed"] is False
    monkeypatch.undo()
    export_adapter(config)  # what failed before is no obstacle
    assert read_json(out / "proof.json")["passed"] and not out.with_name("out.incomplete").exists()


def _resized(manifest: dict[str, Any], path: Path) -> dict[str, Any]:
    manifest["export"]["files"]["adapter/adapter_model.safetensors"] = path.stat().st_size
    return manifest


def test_an_export_that_does_not_load_says_why(make_export: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    proved = exporting.prove

    def lose_a_file(part: Any, tolerance: float | None) -> Any:
        (part.folder / "heads.safetensors").unlink()
        return proved(part, tolerance)

    monkeypatch.setattr(exporting, "prove", lose_a_file)
    config = make_export(part=Part.mdlm)
    with pytest.raises(UserError, match=r"does not load in a fresh process .*Missing file of the export.*heads"):
        export_adapter(config)
    assert not Path(config.out).exists()


def test_overwriting_replaces_the_whole_export(make_export: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    stub = SimpleNamespace(
        create_repo=lambda repo, **values: told.append((repo, values)) or "https://hub/me/tiny",
        upload_folder=lambda **values: told.append(values),
    )
    monkeypatch.setattr(exporting, "check_hub", lambda repo, private: stub)
    config = make_export(part=Part.mdlm)
    export_adapter(config)
    (Path(config.out) / "left over").touch()
    lines = export_adapter(make_export(part=Part.mdlm, overwrite=True, push_to_hub="me/tiny"))
    assert not (Path(config.out) / "left over").exists()
    assert sorted(path.name for path in Path(config.out).parent.iterdir()) == ["out"]
    assert lines[-1] == "uploaded to https://hub/me/tiny"
    assert told[0][0] == "me/tiny" and told[0][1]["private"] is True and told[1]["folder_path"] == config.out
