import ast
import sys
from pathlib import Path

import pytest

from scripts.benchmarks import mutants

TEXT = '''
"""A docstring with 1 < 2."""
LIMIT: int = 3

def choose(values: list[int], least=0.5) -> int:
    """More than 1."""
    log.info("%d", 1 + 1)
    if values[0] < LIMIT and not values[1:]:
        raise ValueError(f"{1 + 1}")
    values.sort()
    return min(values) - 1
'''


def test_every_kind_of_fault_is_made_once_and_nothing_else() -> None:
    found = mutants.list_mutants(TEXT, "x.py")
    assert [mutant.change for mutant in found] == [
        "3 -> 4",
        "0.5 -> 1.75",
        "values[0] < LIMIT and (not values[1:]) -> not (values[0] < LIMIT and (not values[1:]))",
        "values[0] < LIMIT and (not values[1:]) -> values[0] < LIMIT or not values[1:]",
        "values[0] < LIMIT -> values[0] <= LIMIT",
        "0 -> 1",
        "not values[1:] -> not not values[1:]",
        "1 -> 2",
        "values.sort() -> None",
        "return min(values) - 1 -> return None",
        "min(values) - 1 -> min(values) + 1",
        "min -> max",
        "1 -> 2",
    ]
    assert [mutant.line for mutant in found[:2]] == [3, 5]
    for mutant in found:
        changed = ast.unparse(mutant.plant(TEXT)).splitlines()
        real = ast.unparse(ast.parse(TEXT)).splitlines()
        assert len([1 for one, other in zip(real, changed, strict=True) if one != other]) == 1


def test_a_sample_follows_its_seed_and_spreads_over_the_rooms() -> None:
    rooms = ["data/training", "models/experts"]
    drawn = mutants.sample(rooms, 10, seed=0)
    assert drawn == mutants.sample(rooms, 10, seed=0) != mutants.sample(rooms, 10, seed=1)
    assert sorted(room for room, _ in drawn) == [rooms[0]] * 5 + [rooms[1]] * 5
    for _, mutant in drawn:
        mutant.plant((mutants.ROOT / mutant.path).read_text())


def test_the_nearest_tests_are_the_mirrored_file_and_those_that_import_it() -> None:
    places = ["tests/train/mdlm", "tests/train/engine/test_optim.py"]
    own, *importing = mutants.nearest_tests(places, "train/engine/optim.py")
    assert own == "tests/train/engine/test_optim.py" and "tests/train/mdlm/test_loop.py" in importing
    assert mutants.nearest_tests(places, "train/mdlm/losses.py") == ["tests/train/mdlm/test_losses.py"]
    assert len(mutants.nearest_tests(places, "train/mdlm/none.py")) > 5


def test_a_fork_sees_the_fault_and_this_process_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "halved_by_mutants.py").write_text("def halve(x):\n    return x / 2\n")
    (tmp_path / "test_it.py").write_text(
        "from halved_by_mutants import halve\n\ndef test():\n    assert halve(4) == 2\n"
    )
    (times,) = [
        one
        for one in mutants.list_mutants((tmp_path / "halved_by_mutants.py").read_text(), "halved_by_mutants.py")
        if "*" in one.change
    ]
    tests = [str(tmp_path / "test_it.py")]
    assert mutants.run_tests(tests, None, 60.0)[0]
    assert not mutants.run_tests(tests, times, 60.0)[0]
    assert mutants.run_tests(tests, None, 60.0)[0]
    assert "halved_by_mutants" not in sys.modules
    (tmp_path / "test_it.py").write_text("import time\ntime.sleep(60)\n")
    assert mutants.run_tests(tests, None, 0.3) == (False, 0.3)
