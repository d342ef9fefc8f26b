"""One rule for what is there already: go on with one's own, refuse another's, delete nothing unasked."""

import json
from pathlib import Path

import pytest

from data.errors import UserError
from train.engine.identity import Identity
from train.engine.manifest import MANIFEST
from train.engine.resume import Resume
from train.engine.stage import Stage, claim, finish, name_checkpoint

OWN = Identity({"loop.steps": "9"}, {"a": "normal, 1", "b": "scratch, 2"})
LONGER = Identity({"loop.steps": "12"}, OWN.data)
SHRUNK = Identity(OWN.settings, {"a": "normal, 1"})


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    folder = tmp_path / "mdlm"
    return Stage(
        name="MDLM, fixed",
        done=folder / "config.json",
        identity=folder / "identity.json",
        work=folder / "checkpoints",
        result=folder / "heads.safetensors",
    )


def interrupt(stage: Stage, identity: Identity = OWN) -> None:
    """What an interrupted training leaves."""
    assert not claim(stage, identity, Resume.auto)
    (stage.work / "step-000002").mkdir(parents=True)
    (stage.work / "step-000002" / MANIFEST).write_text("{}")


def complete(stage: Stage, identity: Identity = OWN) -> None:
    assert not claim(stage, identity, Resume.auto)
    stage.result.write_bytes(b"weights")
    finish(stage, identity, {"loop": {"steps": 9}})


def everything(stage: Stage) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in stage.done.parent.rglob("*") if path.is_file()}


def test_an_own_training_goes_on_and_is_finished_once(stage: Stage) -> None:
    interrupt(stage)
    assert not claim(stage, OWN, Resume.auto)
    assert (stage.work / "step-000002").is_dir()
    complete(stage)
    assert claim(stage, OWN, Resume.auto)
    assert json.loads(stage.done.read_text())["fingerprint"] == OWN.fingerprint


@pytest.mark.parametrize("leave", [interrupt, complete])
@pytest.mark.parametrize(
    ("other", "said"),
    [
        (LONGER, "loop.steps is 12 instead of 9"),
        (SHRUNK, r"2 images then, 1 now; 1 images are gone \(b\)"),
    ],
)
def test_another_training_is_refused_with_both_values_and_the_way_out_and_nothing_is_touched(
    stage: Stage, leave: object, other: Identity, said: str
) -> None:
    leave(stage)  # type: ignore[operator]
    before = everything(stage)
    with pytest.raises(UserError, match=f"{said}.*another run_dir.*resume=never"):
        claim(stage, other, Resume.auto)
    assert everything(stage) == before
    assert claim(stage, OWN, Resume.auto) == stage.done.is_file()


@pytest.mark.parametrize("identity", [OWN, LONGER])
@pytest.mark.parametrize("leave", [interrupt, complete])
def test_never_trains_even_what_is_finished(stage: Stage, leave: object, identity: Identity) -> None:
    leave(stage)  # type: ignore[operator]
    assert not claim(stage, identity, Resume.never)
    assert not stage.work.exists() and not stage.done.exists()
    assert not claim(stage, identity, Resume.auto)  # its own interrupted work from now on
    with pytest.raises(UserError, match="is another"):
        interrupt(stage, identity)
        claim(stage, SHRUNK, Resume.auto)


def test_work_without_a_checkpoint_is_no_obstacle(stage: Stage) -> None:
    claim(stage, OWN, Resume.auto)
    (stage.work / "step-000002").mkdir(parents=True)
    assert not claim(stage, LONGER, Resume.auto)
    assert not stage.work.exists()


def test_a_result_that_is_gone_is_trained_again(stage: Stage) -> None:
    complete(stage)
    stage.result.unlink()
    assert not claim(stage, OWN, Resume.auto)


def test_a_finished_training_that_does_not_say_its_settings_is_refused(stage: Stage) -> None:
    complete(stage)
    stage.identity.unlink()
    with pytest.raises(UserError, match="does not say of what settings"):
        claim(stage, OWN, Resume.auto)


def test_a_checkpoint_is_named_by_what_it_holds(tmp_path: Path) -> None:
    for name in ("one", "copy", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text("a" if name != "other" else "b")
        (tmp_path / name / "README.md").write_text(name)
    one, copy, other = (name_checkpoint(str(tmp_path / name)) for name in ("one", "copy", "other"))
    assert one == copy != other
    assert name_checkpoint(str(tmp_path / "one" / "model.safetensors")) != one
    assert name_checkpoint("llava-hf/llava-v1.6") == "llava-hf/llava-v1.6"
    assert name_checkpoint(None) == "None"
