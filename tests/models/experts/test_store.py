from pathlib import Path

import pytest
import torch

from data.errors import UserError
from models.experts.expert import Gate
from models.experts.store import (
    GATE,
    category_folder,
    read_expert,
    read_gates,
    read_tensors,
    replacing_expert,
    write_expert,
    write_gates,
    write_tensors,
)


def test_tensors_come_back_and_leave_nothing_half_written(tmp_path: Path) -> None:
    shared = torch.arange(4.0)
    write_tensors(tmp_path, "metal nut", "memory.safetensors", {"a": shared, "b": shared[1:], "c": shared.view(2, 2).T})
    found = read_tensors(tmp_path, "metal nut", "memory.safetensors", "memory")
    assert torch.equal(found["b"], shared[1:]) and torch.equal(found["c"], shared.view(2, 2).T)
    assert [path.name for path in category_folder(tmp_path, "metal nut").iterdir()] == ["memory.safetensors"]


def test_what_is_missing_or_another_expert_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No memory of 'nut'"):
        read_tensors(tmp_path, "nut", "memory.safetensors", "memory")
    with pytest.raises(UserError, match="No fitted expert"):
        read_expert(tmp_path)
    write_expert(tmp_path, "ddad", {}, {})
    assert read_expert(tmp_path)["expert"] == "ddad"
    with pytest.raises(UserError, match="holds the expert 'ddad', not 'patchcore'"):
        read_expert(tmp_path, "patchcore")


def test_a_fit_killed_while_it_is_saved_never_mixes_with_an_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "expert"

    def save(value: float, break_after: str = "") -> None:
        with replacing_expert(folder) as work:
            write_tensors(work, "nut", "memory.safetensors", {"a": torch.full((2,), value)})
            if break_after == "memory":
                raise KeyboardInterrupt
            write_expert(work, "patchcore", {}, {"nut": [str(value)]})
            write_gates(work, {"nut": Gate(value, value)})

    def memory() -> float:
        return float(read_tensors(folder, "nut", "memory.safetensors", "memory")["a"][0])

    save(1.0)
    (folder / "maps.txt").write_text("another's")
    with pytest.raises(KeyboardInterrupt):
        save(2.0, break_after="memory")
    assert (memory(), read_gates(folder)["nut"].score, read_expert(folder)["fitted"]["nut"]) == (1.0, 1.0, ["1.0"])
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:  # at the last rename
        if self.name == GATE and self.parent.name == ".expert.fitting":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save(2.0)
    with pytest.raises(UserError, match="Fit the expert first"):
        read_gates(folder)
    monkeypatch.setattr(Path, "replace", replace)
    (tmp_path / ".expert.fitting" / "ring").mkdir(parents=True)  # of a killed process
    (tmp_path / ".expert.fitting" / "ring" / "memory.safetensors").touch()
    save(3.0)
    assert (memory(), read_gates(folder)["nut"].score, read_expert(folder)["fitted"]["nut"]) == (3.0, 3.0, ["3.0"])
    assert sorted(path.name for path in folder.iterdir()) == ["expert.json", "gate.json", "maps.txt", "nut"]
    assert [path.name for path in tmp_path.iterdir()] == ["expert"]
