import json
from pathlib import Path

from train.eddm.checkpoints import newest_checkpoint
from train.engine.identity import Identity
from train.engine.manifest import Manifest, seal

OWN = Identity({"a": "b"})


def test_where_an_interrupted_training_is(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path, OWN) is None
    for step in (2, 6, 8):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        state = {"global_step": step, "max_steps": 8, "log_history": [{"step": step, "loss": 1.0}]}
        (folder / "trainer_state.json").write_text(json.dumps(state))
        if step < 8:
            seal(folder, Manifest(identity=OWN.fingerprint, step=step, world=2))
    found = newest_checkpoint(tmp_path, OWN)
    assert found is not None
    assert (found.path.name, found.step, found.steps, found.is_last) == ("checkpoint-6", 6, 8, False)
    assert found.history == [{"step": 6, "loss": 1.0}]
    assert (tmp_path / "damaged-checkpoint-8").is_dir()  # nothing is thrown away
    seal(
        (tmp_path / "damaged-checkpoint-8").rename(tmp_path / "checkpoint-8"),
        Manifest(identity=OWN.fingerprint, step=8, world=1),
    )
    assert (newest_checkpoint(tmp_path, OWN) or found).is_last
