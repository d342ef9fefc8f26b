"""What is refused before anything is written."""

import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.run import Run
from data.training.grounding import DescriptionMode
from train.export.config import Dtype, Part
from train.export.eddm import size_eddm
from train.export.export import check_space, export_adapter, find_parts, make_work, publish, restore
from train.export.mdlm import choose_mdlm, size_mdlm


@pytest.fixture
def own(run: Run, tmp_path: Path) -> Run:
    """A copy of the run that a test may break."""
    return Run(Path(shutil.copytree(run.path, tmp_path / "own")))


def refuse(make: Any, match: str, **values: Any) -> None:
    config = make(**values)
    with pytest.raises(UserError, match=match):
        export_adapter(config)
    assert not list(Path(config.out).parent.glob("out.incomplete"))


def test_a_run_without_trained_parts(make_export: Any, tmp_path: Path, own: Run) -> None:
    refuse(make_export, "No run directory", run=str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    refuse(
        make_export, r"Nothing to export from .*EDDM: no trained adapter.*MDLM: no MDLM", run=str(tmp_path / "empty")
    )
    refuse(make_export, r"description=oracle: no MDLM in", description=DescriptionMode.oracle)
    (own.eddm / "config.json").unlink()
    refuse(make_export, r"EDDM: the training in .* is not finished", run=str(own.path), part=Part.eddm)
    assert list(find_parts(own, make_export(run=str(own.path)))) == ["mdlm"]


def test_pickles_where_safetensors_belong(make_export: Any, own: Run) -> None:
    adapter = own.eddm / "adapter" / "adapter_model.safetensors"
    adapter.rename(adapter.with_suffix(".bin"))
    refuse(make_export, r"adapter_model\.bin is a pickle", run=str(own.path), part=Part.eddm)
    heads = own.mdlm / "fixed" / "heads.safetensors"
    heads.rename(heads.with_suffix(".pt"))
    refuse(make_export, r"heads\.pt is a pickle", run=str(own.path), part=Part.mdlm)
    base = own.eddm / "base" / "model.safetensors"
    adapter.with_suffix(".bin").rename(adapter)
    base.rename(base.with_name("pytorch_model.bin"))
    refuse(make_export, r"holds pickled weights", run=str(own.path), part=Part.eddm, merge=True)


def test_places_that_are_taken_or_impossible(make_export: Any, run: Run, tmp_path: Path) -> None:
    refuse(make_export, "lie inside each other", out=str(run.path / "export"))
    refuse(make_export, "lie inside each other", out=str(run.path.parent))
    (tmp_path / "out").mkdir()
    refuse(make_export, "exists. Choose another name, or set overwrite=true")
    (tmp_path / "out" / "thesis.tex").touch()
    refuse(make_export, "is not an export, so overwrite=true leaves it alone", overwrite=True)
    assert (tmp_path / "out" / "thesis.tex").exists()
    (tmp_path / "file").touch()
    refuse(make_export, "a file is in the way", out=str(tmp_path / "file" / "out"))
    (tmp_path / "new.incomplete").mkdir()
    (tmp_path / "new.incomplete" / "thesis.tex").touch()
    with pytest.raises(UserError, match="no unfinished export"):
        make_work(tmp_path / "new")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(make_export: Any, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    refuse(make_export, "permission denied", out=str(tmp_path / "closed" / "out"))


def test_too_little_disk(make_export: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(2**40, 2**40 - 2**20, 2**20))
    refuse(make_export, r"takes about 0\.\d GiB, but .* has 0\.0 GiB free", merge=True)
    check_space(tmp_path, 2**20)


def test_the_expected_size_follows_the_number_format(make_export: Any, run: Run) -> None:
    whole = (run.eddm / "base" / "model.safetensors").stat().st_size
    slack = 2**24
    for dtype, share in ((Dtype.float32, 1), (Dtype.bfloat16, 2)):
        size = size_eddm(run, make_export(merge=True, dtype=dtype)) - slack
        assert size == pytest.approx(whole / share, rel=0.05)
    fixed = DescriptionMode.fixed
    assert size_mdlm(run, fixed, make_export()) < size_mdlm(run, fixed, make_export(merge=True))


def test_numbers_that_cannot_work(make_export: Any) -> None:
    refuse(make_export, "shard_gib=0 is no size", shard_gib=0)
    refuse(make_export, "tolerance=-1 is no difference", tolerance=-1)
    refuse(make_export, "dtype=float16 is for merge=true", dtype=Dtype.float16)


def test_which_mdlm(own: Run) -> None:
    assert choose_mdlm(own, None) is DescriptionMode.fixed
    shutil.copytree(own.mdlm / "fixed", own.mdlm / "oracle")
    with pytest.raises(UserError, match=r"choose description=.*fixed"):
        choose_mdlm(own, None)
    shutil.copytree(own.mdlm / "fixed", own.mdlm / "eddm")
    assert choose_mdlm(own, None) is DescriptionMode.eddm
    assert choose_mdlm(own, DescriptionMode.oracle) is DescriptionMode.oracle


def test_checkpoints_that_no_longer_fit(make_export: Any, own: Run) -> None:
    from safetensors.torch import load_file, save_file

    adapter = own.eddm / "adapter" / "adapter_model.safetensors"
    save_file({name: value.repeat(1, 2) for name, value in load_file(adapter).items()}, adapter)
    config = make_export(run=str(own.path), part=Part.eddm)
    with pytest.raises(UserError, match=r"does not fit the base .*Train EDDM again"):
        export_adapter(config)
    shutil.rmtree(own.mdlm / "base" / "llava")
    with pytest.raises(UserError, match="No checkpoint at"):
        export_adapter(make_export(run=str(own.path), part=Part.mdlm))


@pytest.mark.parametrize("killed_at", ["out", "work"])
def test_an_export_that_is_replaced_by_a_killed_process_has_its_name_again(
    killed_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    for folder in (out, work):
        folder.mkdir()
        (folder / "card.md").write_text(folder.name)
    rename, where = Path.rename, {"out": out, "work": work}[killed_at]

    def killed(self: Path, target: Path) -> Path:
        if self == where:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        publish(work, out)
    monkeypatch.setattr(Path, "rename", rename)
    restore(out)
    assert (out / "card.md").read_text() == "out"
    publish(work, out)
    assert (out / "card.md").read_text() == "work" and [path.name for path in tmp_path.iterdir()] == ["out"]
